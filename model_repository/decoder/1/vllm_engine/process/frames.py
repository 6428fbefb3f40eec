"""Messages between the room and vLLM's process: json, and bytes behind it. Both sides read this file."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

LENGTHS = struct.Struct("<QQ")


async def read(reader: asyncio.StreamReader) -> tuple[dict[str, Any], bytes]:
    """The next message. Raises asyncio.IncompleteReadError where the other side has ended, and ConnectionError."""
    text, payload = LENGTHS.unpack(await reader.readexactly(LENGTHS.size))
    message: dict[str, Any] = json.loads(await reader.readexactly(text))
    return message, await reader.readexactly(payload)


def write(writer: asyncio.StreamWriter, message: dict[str, Any], payload: bytes | memoryview = b"") -> None:
    text = json.dumps(message).encode()
    writer.write(LENGTHS.pack(len(text), len(payload)))
    writer.write(text)
    if payload:
        writer.write(payload)
