"""The engine around vLLM with a script in its place: what vLLM does with embeddings is tested with vLLM."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import torch

from export.rooms import room
from tests.unit.decoder import engine_kit as kit

engine = room("decoder", "vllm_engine.engine")
answering = room("decoder", "vllm_engine.answering")
kept = room("decoder", "vllm_engine.kept")
loop = room("decoder", "vllm_engine.loop")
prompts = room("decoder", "vllm_engine.prompts")

TABLE = torch.randn(96, 48, generator=torch.Generator().manual_seed(1))
END = 95


class Script:
    """An `Answering`: says the tokens it was told to, when it may. asked: name, rows, sampling, level, in order."""

    def __init__(self, say: Callable[[int], list[int]] = lambda number: [7, 8, 9, END]):
        self.max_tokens = 1_000
        self.asked, self.closed_early = [], []
        self.lost = False
        self.say = say
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def answer(self, name, rows, sampling, priority):
        number = len(self.asked)
        self.asked.append((name, rows, sampling, priority))
        token = None
        try:
            for token in self.say(number):
                await self.may_go_on.wait()
                if self.lost:
                    raise answering.EngineLost
                yield answering.Tokens([token], [-0.5], 0.0, "stop" if token == END else "")
        except GeneratorExit:
            if token != END:
                self.closed_early.append(name)
            raise

    def is_lost(self):
        return self.lost

    def kv_tokens(self):
        return 5

    def counters(self):
        return {"steps": 3, "computed_tokens": 40}

    def close(self):
        self.lost = True


def make_engine(script, max_running=8, places=None, patience=None, most_bytes=2**20, aging_s=60.0):
    """Started; `places` and `patience` by priority, without bounds where they are left out."""
    thread = loop.LoopThread("test")
    waiting = kit.waiting_room.WaitingRoom(places or {}, patience or {}, max_running)
    held = kept.KeptEmbeddings(most_bytes, 60.0)
    embedder = prompts.Embedder(TABLE, torch.float32)
    made = engine.VllmEngine(thread, script, embedder, (END,), waiting, held, max_running, aging_s)
    made.start()
    return made


def hold(made, script):
    """Let nothing be said from now on."""
    made._loop.call(script.may_go_on.clear)


def release(made, script):
    made._loop.call(script.may_go_on.set)
