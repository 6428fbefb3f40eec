"""A client of /ws/transcribe: python -m tests.rehearsal.websocket_client URL FILE prints each event's type and text."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import numpy as np
import websockets

from frontend.audio.decoding import decode

CHUNK = 1_600
TIMEOUT_S = 60.0


async def captions(url: str, path: Path) -> None:
    with path.open("rb") as file:
        pcm16 = (decode(file, 600) * 32767).astype("<i2")
    async with websockets.connect(f"{url}?partial_interval_ms=300&debug=true") as connection:

        async def speak() -> None:
            for start in range(0, pcm16.size, CHUNK):
                await connection.send(pcm16[start : start + CHUNK].tobytes())
                await asyncio.sleep(CHUNK / 16_000)
            # A second of quiet: the utterance ends by itself.
            await connection.send(np.zeros(16_000, dtype="<i2").tobytes())
            await connection.send('{"action": "end"}')

        speaking = asyncio.create_task(speak())
        async for message in connection:
            event = json.loads(message)
            if event["type"] == "error":
                raise SystemExit(f"error {event['message']}")
            if event["type"] in ("partial", "final"):
                made_by = f" checkpoint={event['checkpoint']}" if "checkpoint" in event else ""
                print(f"{event['type']}{made_by if event['type'] == 'partial' else ''} {event['text']}", flush=True)
        await speaking


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(captions(sys.argv[1], Path(sys.argv[2])), TIMEOUT_S))
