"""moto's server, taught one thing that Amazon knows: `python -m tests.moto_like_amazon PORT`.

Into a bucket with default retention Amazon takes any write that carries a checksum header; moto asks for the header by
which an SDK announces one. Source: "Content-MD5 OR x-amz-checksum- HTTP header is required", Amazon's own refusal,
https://github.com/apache/arrow-rs-object-store/issues/190
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple


def announcing(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if "HTTP_X_AMZ_CHECKSUM_SHA256" in environ:
            environ.setdefault("HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM", "SHA256")
        return app(environ, start_response)

    return answer


if __name__ == "__main__":
    moto = announcing(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", int(sys.argv[1]), moto, threaded=True)
