"""A TCP relay that a test can hold in the middle of a stream, or cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass
class Proxy:
    """Relays to `target_port`; a connection that carried `hold_after` bytes to the client waits for `release`.

    So does one that carried `hold_after_sent` bytes from the client.
    """

    target_port: int
    hold_after: int | None
    hold_after_sent: int | None = None
    port: int = 0
    held: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def release(self) -> None:
        self.released.set()

    def cut(self) -> None:
        """Drop every connection without a farewell."""
        for writer in self._writers:
            writer.transport.abort()
        self.release()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port, limit=1 << 16)
            self._writers |= {writer, far_writer}
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(reader, far_writer, hold_after=self.hold_after_sent))
                group.create_task(self._carry(far_reader, writer, hold_after=self.hold_after))

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, hold_after: int | None
    ) -> None:
        passed = 0
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
                passed += len(data)
                if hold_after is not None and passed >= hold_after and not self.released.is_set():
                    self.held.set()
                    await self.released.wait()


@contextlib.asynccontextmanager
async def running_proxy(
    target_port: int, *, hold_after: int | None = None, hold_after_sent: int | None = None
) -> AsyncIterator[Proxy]:
    proxy = Proxy(target_port=target_port, hold_after=hold_after, hold_after_sent=hold_after_sent)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=1 << 16)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        proxy.cut()
        server.close()
        await asyncio.sleep(0)
