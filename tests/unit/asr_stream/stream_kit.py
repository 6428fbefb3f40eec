"""A live session in this process, fed and listened to."""

from __future__ import annotations

import asyncio
import itertools
import time

import numpy as np

from export.rooms import room

session_room, settings_room = room("asr_stream", "session"), room("asr_stream", "settings")
inbox_room, parameters_room = room("asr_stream", "inbox"), room("asr_stream", "parameters")
endpointing, stable_text, pcm_buffer = (
    room("asr_stream", name) for name in ("endpointing", "stable_text", "pcm_buffer")
)
utterance_room, rooms_room = room("asr_stream", "utterance"), room("asr_stream", "rooms")
Settings = settings_room.Settings
TURNS = 20


class Fed:
    """A session and everything it said."""

    def __init__(self, rooms, two_sizes=False, limits=None, overlap=None, **settings):
        """limits: of the model's parameters, those that are not the default ones. overlap: of one that goes on."""
        fast = {"fast_step": "asr_step_fast", "fast_decoder": "decoder_fast"} if two_sizes else {}
        self.events = []
        self.session = session_room.Session(
            f"test-{id(self)}",
            rooms,
            rooms.detector,
            Settings().changed(settings),
            self.events.append,
            parameters_room.Parameters(**fast, **{"min_partial_interval_ms": 20, **(limits or {})}),
            overlap,
        )
        self.task = asyncio.get_running_loop().create_task(self.session.run())

    async def feed(self, pcm, sizes):
        """Push samples in chunks of these sizes, letting the session do what it can after each."""
        start = 0
        while start < pcm.size:
            size = next(sizes)
            self.session.push(pcm[start : start + size])
            start += size
            await self.settle()

    async def settle(self):
        """Until the session has taken everything in and waits."""
        deadline = time.monotonic() + 60
        for turn in itertools.count():
            # Most chunks are taken in within a few turns of this loop; only the decoder works in another thread.
            await asyncio.sleep(0 if turn < TURNS else 0.0005)
            if self.session.resting or self.task.done():
                return
            assert time.monotonic() < deadline, "the session does not come to rest"

    async def end(self):
        self.session.command("end")
        await asyncio.wait_for(self.task, 60)
        return self.events

    def of(self, kind):
        return [event for event in self.events if event["type"] == kind]


def silence(seconds, seed=0):
    rng = np.random.default_rng(seed)
    return (0.0005 * rng.standard_normal(int(seconds * 16_000))).astype(np.float32)
