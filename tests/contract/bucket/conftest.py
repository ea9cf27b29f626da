from tests.object_stores import moto_order, moto_server, rclone_order, rclone_server

__all__ = ["moto_order", "moto_server", "rclone_order", "rclone_server"]
