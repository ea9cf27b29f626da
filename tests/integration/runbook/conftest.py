"""A bucket whose server checks signatures."""

from tests.object_stores import rclone_order, rclone_server

__all__ = ["rclone_order", "rclone_server"]
