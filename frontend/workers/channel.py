"""What the master and a worker tell each other: one JSON object a line, over a pair of sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

# A worker that is stopped takes nothing: what it is told is bounded, and the newest state comes again.
MOST_UNSENT_BYTES = 2**20
# The state of thousands of servers; asyncio would take 64 KiB, which is that of a hundred.
MOST_LINE_BYTES = 16 * 2**20


class Channel:
    """One end of it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def over(cls, end: socket.socket) -> Channel:
        end.setblocking(False)
        return cls(*await asyncio.open_connection(sock=end, limit=MOST_LINE_BYTES))

    def tell(self, **message: Any) -> None:
        """Send without waiting. Nobody is told where the other end is gone, or takes nothing."""
        transport = self._writer.transport
        if not transport.is_closing() and transport.get_write_buffer_size() < MOST_UNSENT_BYTES:
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What the other end tells, until it is gone, be it in the middle of a message. Raises ValueError where one is
        no JSON, or has more than MOST_LINE_BYTES."""
        with contextlib.suppress(ConnectionError):
            while (line := await self._reader.readline()).endswith(b"\n"):
                yield json.loads(line)

    def close(self) -> None:
        self._writer.close()
