"""Opens the obstore store an order describes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from obstore.store import LocalStore, S3Store

from flykeep.adapters.stores.foreign import Translator
from flykeep.domain.errors import ConfigError
from flykeep.ports.store import StoreOrder, StoreType

Opened = LocalStore | S3Store


def open_store(order: StoreOrder, *, request_timeout: timedelta, retries: int) -> Opened:
    """Open without touching the network; a directory is created where it is missing.

    `request_timeout` covers one request with its body. Raises ConfigError for an order that lacks something.
    """
    if order.type is StoreType.DIRECTORY:
        root = root_of(order)
        return Translator.of(order).call(
            "open its directory", "", lambda: LocalStore(root, automatic_cleanup=False, mkdir=True)
        )
    if not order.bucket:
        raise ConfigError(f"Store {order.name} names no bucket.")
    return Translator.of(order).call(
        "be opened", "", lambda: _open_s3(order, request_timeout=request_timeout, retries=retries)
    )


def root_of(order: StoreOrder) -> Path:
    """The directory that keys of a directory store are relative to."""
    if not order.path:
        raise ConfigError(f"Store {order.name} names no path.")
    return Path(order.path).absolute() / order.prefix.strip("/")


def _open_s3(order: StoreOrder, *, request_timeout: timedelta, retries: int) -> S3Store:
    config: dict[str, str | bool] = {"virtual_hosted_style_request": not order.is_path_style}
    if order.endpoint:
        config["endpoint"] = _endpoint(order.endpoint, bucket=str(order.bucket), is_path_style=order.is_path_style)
    if order.endpoint or order.region != "auto":  # Amazon itself has no region "auto": let the library's default stand
        config["region"] = order.region
    if order.access_key_id and order.secret_access_key:
        config |= {"access_key_id": order.access_key_id, "secret_access_key": order.secret_access_key}
    config |= _protection(order)
    return S3Store(
        order.bucket,
        prefix=order.prefix.strip("/") or None,
        client_options={
            "allow_http": (order.endpoint or "").startswith("http://"),
            "timeout": request_timeout,
            "connect_timeout": timedelta(seconds=10),
        },
        retry_config={"max_retries": retries, "retry_timeout": timedelta(minutes=3)},
        **config,  # type: ignore[arg-type]  # every key is one the stub declares, as str or bool
    )


def _protection(order: StoreOrder) -> dict[str, str | bool]:
    """What the store is asked to do to each object.

    Locks come from the bucket's default retention, never from headers per object: the library would send those with
    every request. Amazon refuses a write into such a bucket that carries no checksum.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock-managing.html
    """
    config: dict[str, str | bool] = {}
    if order.server_side_encryption:
        config["server_side_encryption"] = order.server_side_encryption
    if order.kms_key_id:
        config["sse_kms_key_id"] = order.kms_key_id
    if order.is_locking:
        config["checksum_algorithm"] = "SHA256"
    return config


def _endpoint(endpoint: str, *, bucket: str, is_path_style: bool) -> str:
    """The library wants the bucket in the host of a virtual-hosted endpoint.

    Source: https://docs.rs/object_store/latest/object_store/aws/struct.AmazonS3Builder.html#method.with_virtual_hosted_style_request
    """
    parts = urlsplit(endpoint)
    if is_path_style or parts.netloc.startswith(f"{bucket}."):
        return endpoint.rstrip("/")
    return urlunsplit(parts._replace(netloc=f"{bucket}.{parts.netloc}")).rstrip("/")
