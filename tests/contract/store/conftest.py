from tests.object_stores import directory_order, moto_order, moto_server, rclone_order, rclone_server

__all__ = ["directory_order", "moto_order", "moto_server", "rclone_order", "rclone_server"]
