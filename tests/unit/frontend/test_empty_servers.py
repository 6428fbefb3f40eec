"""A server that was started anew and has nothing loaded: it is not ready, and gets its models."""

import asyncio

from frontend.triton import probes
from frontend.triton.probes import Answer
from frontend.triton.renewals import Renewals
from frontend.triton.watcher import Watcher

MODELS = ("asr", "asr_stream")


class Server:
    """Answers, and has loaded what it was told to."""

    stub = None

    def __init__(self, monkeypatch):
        self.loaded, self.answered, self.renewals = [], {}, Renewals()

        async def answer(*_):
            return Answer.ALIVE

        monkeypatch.setattr(probes, "probe", answer)
        monkeypatch.setattr(probes, "canary", answer)

    async def repository(self, timeout_s):
        return {name: "READY" if name in self.loaded else "UNLOADED" for name in MODELS}

    async def executions(self, name, timeout_s):
        return 1

    async def load(self, name, timeout_s):
        self.loaded.append(name)


async def test_models_that_are_not_there_are_seen_at_once_and_loaded(monkeypatch):
    server = Server(monkeypatch)
    watcher = Watcher(server, MODELS)
    await watcher.look()
    assert set(watcher.unhealthy) == set(MODELS)

    async def healed():
        while watcher.unhealthy:
            await asyncio.sleep(0.05)
            await watcher.look()

    await asyncio.wait_for(healed(), 30)
    assert sorted(server.loaded) == sorted(MODELS)
