"""What probes are told: what the watcher saw last, without a question to Triton for each of them."""

import httpx
import pytest

from frontend.app import create_app
from frontend.guard.drain import Drain
from frontend.settings import Settings
from frontend.triton import backend as backend_module
from frontend.triton.addresses import Address
from frontend.triton.backend import Backend
from frontend.triton.client import TritonUnavailable
from frontend.triton.server import Server
from frontend.triton.watcher import Watcher

MODELS = ("asr", "asr_stream")


class Triton:
    """Counts what it is asked."""

    url = "127.0.0.1:1"

    def __init__(self):
        self.asked, self.is_there = 0, True

    async def server_metadata(self):
        self.asked += 1
        if not self.is_there:
            raise TritonUnavailable("nobody listens")
        return {"name": "triton", "version": "1"}


@pytest.fixture
def probed():
    """A client of a frontend, whose connection stands, its backend and the Triton behind."""
    settings = Settings(triton_url="127.0.0.1:1")
    app = create_app(settings)
    triton = Triton()
    app.state.backend, app.state.drain = Backend(settings), Drain()
    app.state.backend.models = MODELS
    behind = Server(Address(triton.url), triton, MODELS)
    behind.known = Watcher(triton, MODELS)
    app.state.backend.fleet.add(behind)
    app.state.backend.begin()
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")
    return client, app.state.backend, triton


async def test_readiness_is_what_the_watcher_saw(probed):
    client, backend, _ = probed
    watcher = backend.fleet.first.known

    async def statuses():
        return [(await client.get(path)).status_code for path in ("/health", "/health/ready")]

    assert await statuses() == [503, 503], "nothing was seen yet"
    watcher.states = dict.fromkeys(MODELS, "READY")
    assert await statuses() == [200, 200]
    # Triton calls it ready, and it is not.
    watcher.unhealthy = {"asr": "its process does not answer"}
    assert await statuses() == [503, 503]
    watcher.unhealthy = {}
    watcher.states = {"asr": "READY", "asr_stream": "UNAVAILABLE"}
    assert await statuses() == [503, 503]
    body = (await client.get("/health")).json()
    assert body["needed"] == {"asr": True, "asr_stream": False}
    assert body["models"] == watcher.states
    watcher.states = dict.fromkeys(MODELS, "READY")
    backend._ready.clear()
    backend._wanted.set()
    assert await statuses() == [503, 503], "the connection is lost"


async def test_probes_ask_triton_nothing_but_its_name_now_and_then(probed, monkeypatch):
    client, backend, triton = probed
    backend.fleet.first.known.states = dict.fromkeys(MODELS, "READY")
    for _ in range(20):
        assert (await client.get("/health/ready")).status_code == 200
    assert triton.asked == 0
    for _ in range(20):
        assert (await client.get("/health")).json()["triton"]["version"] == "1"
    assert triton.asked == 1
    monkeypatch.setattr(backend_module, "NAME_S", 0.0)
    triton.is_there = False
    assert "nobody" in (await client.get("/health")).json()["failure"]
    assert triton.asked == 2


async def test_what_was_healed_is_counted_since_the_start_whatever_becomes_of_its_server():
    backend = Backend(Settings(triton_url="127.0.0.1:1"))
    for number, pid in enumerate((None, 1, None, 1)):
        # Ours has another port after its end.
        server = backend.open(Address(f"127.0.0.1:{1 if pid is None else 2 + number}"), pid=pid and (lambda: None))
        before = number // 2
        assert server.as_told(0.0)["healed"] == ({"vad": before} if before else {})
        server.watcher.healed["vad"] += 1
        if pid is None:
            # Named no more, and again: it is looked at anew.
            await server.look_away()
            server.look_again()
        assert server.as_told(0.0)["healed"] == {"vad": before + 1}
        await backend.shut()
        assert backend.servers() == []
        assert backend.healed == {"vad": number + 1}


async def test_addresses_at_which_nothing_was_healed_are_forgotten():
    backend = Backend(Settings(triton_url="127.0.0.1:1"))
    for port in range(1, 20):
        server = backend.open(Address(f"127.0.0.1:{port}"))
        if port % 2:
            server.watcher.healed["vad"] += 1
        if port % 3:
            backend.fleet.remove(server.url)
    assert len(backend._healed_at) < 19
    assert backend.healed == {"vad": 10}
    await backend.shut()
