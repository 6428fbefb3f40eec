"""What a master and its workers tell each other, and how they share a port."""

import asyncio
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from frontend.cores import usable_cores
from frontend.guard.counts import ACTIVE, Counts
from frontend.guard.keys import Keys
from frontend.settings import Settings
from frontend.triton.balancer import LIVE
from frontend.workers.channel import MOST_LINE_BYTES, Channel
from frontend.workers.following import FollowingBackend
from frontend.workers.listening import listen
from frontend.workers.master import Master, Worker, _metrics_folder

SERVER = {
    "url": "127.0.0.1:1",
    "name": "",
    "weight": 1.0,
    "generation": 1,
    "looks": 1,
    "states": {"asr": "READY", "asr_step": "READY", "asr_stream": "READY", "vad": "READY"},
    "lost": {"vad": "it is gone"},
    "healed": {"vad": 1},
    "told": {"decoder": {"files": 2, "checkpoint": "tiny"}, "asr_stream": {"sessions": 3}},
    "reports": {"decoder": 1, "asr_stream": 1},
}
STATE = {
    "servers": [SERVER],
    "ready": True,
    "asleep": False,
    "failure": None,
    "name": "tiny",
    "metrics_url": "http://127.0.0.1:2/metrics",
    "models": ["asr", "asr_step", "asr_stream"],
    # Of servers that are gone as well.
    "healed": {"vad": 2},
}


class Teller:
    """The other end of a worker's channel."""

    def __init__(self, channel):
        self.channel = channel
        self._messages = channel.messages()

    async def heard(self):
        return await asyncio.wait_for(anext(self._messages), 10)


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture(name="pair")
async def _pair(monkeypatch):
    """A worker's backend, and its master."""
    monkeypatch.setattr("os.kill", lambda *_: None)
    ours, theirs = socket.socketpair()
    counts = Counts(1, 2, 1)
    settings = Settings(idle_timeout=5)
    backend = FollowingBackend(settings, await Channel.over(ours), counts.count(ACTIVE))
    await backend.start()
    master = Teller(await Channel.over(theirs))
    yield backend, master
    await backend.stop()
    master.channel.close()


async def test_a_worker_knows_what_its_master_knows(pair):
    backend, master = pair
    master.channel.tell(state=STATE)
    await until(lambda: backend.current is not None)
    assert (backend.current.url, backend.lost, backend.healed) == ("127.0.0.1:1", SERVER["lost"], STATE["healed"])
    assert backend.servers()[0]["healed"] == SERVER["healed"]
    assert (backend.metrics_url, backend.served_model_name, backend.is_asleep) == (STATE["metrics_url"], "tiny", False)
    assert (backend.states, backend.is_ready()) == (SERVER["states"], True)
    assert (backend.fleet.first.sessions, backend.fleet.first.segments) == (3, 2)
    first = backend.current
    renewed = first.renewals.of("asr_stream")
    master.channel.tell(renewed="asr_stream", url="127.0.0.1:1")
    await asyncio.wait_for(renewed, 10)
    master.channel.tell(state={**STATE, "ready": False, "failure": "it ended"})
    await until(lambda: backend.current is None)
    assert (backend.failure, backend.is_ready()) == ("it ended", False)
    # Started anew at its port, it knows nothing of what the other one was told.
    master.channel.tell(state={**STATE, "servers": [{**SERVER, "generation": 2}]})
    await until(lambda: backend.current is not None)
    assert backend.current is not first
    master.channel.tell(state={**STATE, "servers": [{**SERVER, "url": "127.0.0.1:3", "generation": 3}]})
    await until(lambda: [server.url for server in backend.fleet] == ["127.0.0.1:3"])


async def test_a_worker_spreads_its_work_over_all_servers_that_its_master_has(pair):
    backend, master = pair
    others = [{**SERVER, "url": f"127.0.0.1:{port}", "generation": port, "lost": {}} for port in (1, 2, 3)]
    master.channel.tell(state={**STATE, "servers": others})
    await until(lambda: len(backend.fleet) == 3)
    taken = []
    for _ in range(6):
        client = await backend.connected_live()
        client.standing.begin(LIVE)
        taken.append(client.url)
    assert sorted(taken) == sorted(2 * [f"127.0.0.1:{port}" for port in (1, 2, 3)])
    others[0]["weight"] = 0.0
    master.channel.tell(state={**STATE, "servers": others})
    await until(lambda: backend.fleet.get("127.0.0.1:1").is_drained)
    assert {(await backend.connected()).url for _ in range(20)} == {"127.0.0.1:2", "127.0.0.1:3"}


async def test_a_master_knows_who_works_what_answers_and_what_fails(pair):
    backend, master = pair
    master.channel.tell(state=STATE)
    used = asyncio.Event()

    async def work():
        async with backend.use() as client:
            used.set()
            client.note("asr")
            client.on_failure("the stub is not healthy")

    working = asyncio.create_task(work())
    assert await master.heard() == {"active": True}
    # Triton might be given up before the master has heard of it.
    await asyncio.sleep(0.05)
    assert not used.is_set()
    assert backend.active == 1
    master.channel.tell(held=True)
    await asyncio.wait_for(working, 10)
    assert await master.heard() == {"failed": "the stub is not healthy", "url": "127.0.0.1:1"}
    assert await master.heard() == {"active": False}
    answered = await master.heard()
    assert ([*answered["answered"]], answered["url"]) == (["asr"], "127.0.0.1:1")
    assert backend.active == 0


async def test_a_worker_whose_master_is_gone_asks_itself_to_end(pair, monkeypatch):
    _, master = pair
    ended = asyncio.Event()
    monkeypatch.setattr("os.kill", lambda *_: ended.set())
    master.channel.close()
    await asyncio.wait_for(ended.wait(), 10)


async def test_a_worker_is_told_of_hundreds_of_servers_that_are_lost(pair):
    backend, master = pair
    lost = {**SERVER, "lost": dict.fromkeys(STATE["models"], "it is gone, which takes a while to say" * 5)}
    many = [{**lost, "url": f"127.0.0.1:{port}"} for port in range(1, 501)]
    master.channel.tell(state={**STATE, "servers": many})
    await until(lambda: len(backend.fleet) == 500)


@pytest.mark.parametrize("broken", [{"state": {}}, {"failed": "x" * MOST_LINE_BYTES}])
async def test_a_worker_that_cannot_follow_any_longer_asks_itself_to_end(pair, monkeypatch, caplog, broken):
    """Its master starts another one, which begins with the newest state."""
    _, master = pair
    ended = asyncio.Event()
    monkeypatch.setattr("os.kill", lambda *_: ended.set())
    master.channel.tell(**broken)
    await asyncio.wait_for(ended.wait(), 10)
    assert "Traceback" in caplog.text


async def test_a_master_that_dies_while_it_tells_something_is_gone_and_no_mistake(pair, monkeypatch, caplog):
    _, master = pair
    ended = asyncio.Event()
    monkeypatch.setattr("os.kill", lambda *_: ended.set())
    master.channel._writer.write(b'{"state": {"serv')
    master.channel.close()
    await asyncio.wait_for(ended.wait(), 10)
    assert "Traceback" not in caplog.text


async def test_an_end_that_takes_nothing_holds_nobody_up():
    ours, theirs = socket.socketpair()
    channel = await Channel.over(ours)
    for _ in range(10_000):
        channel.tell(failed="x" * 1_000)
    assert channel._writer.transport.get_write_buffer_size() < 2 * 2**20
    channel.close()
    theirs.close()


async def test_a_master_that_cannot_tell_its_workers_any_more_ends(monkeypatch, caplog):
    """They would keep what they know for ever."""
    ended = []

    async def keep(master, _):
        await master._ending.wait()
        ended.append(True)

    monkeypatch.setattr(Master, "_keep", keep)
    monkeypatch.setattr(Master, "_state_of_now", lambda _: 1 / 0)
    settings = Settings(triton_url="127.0.0.1:1", host="127.0.0.1", port=0, processes="2")
    try:
        async with asyncio.timeout(20):
            assert await Master(settings, Keys([])).run(None) == 1
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)
    assert ended == [True, True]
    assert "ZeroDivisionError" in caplog.text


async def test_a_worker_that_its_master_cannot_understand_is_ended(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ours, theirs = socket.socketpair()
    settings = Settings(triton_url="127.0.0.1:1", host="127.0.0.1", port=0, processes="2")
    master = Master(settings, Keys([]))
    process = subprocess.Popen(["sleep", "60"])
    worker = Worker(0, master._workers[0].listening, process, await Channel.over(ours))
    speaking = await Channel.over(theirs)
    speaking.tell(url=[])
    async with asyncio.timeout(20):
        assert await master._ended(worker) == -signal.SIGKILL
    assert "Traceback" in caplog.text
    speaking.close()
    for one in master._workers:
        one.listening.close()


def test_connections_are_spread_over_the_sockets_of_a_port():
    sockets = listen("127.0.0.1", 0, 4)
    (address,) = {one.getsockname() for one in sockets}
    clients = [socket.create_connection(address, timeout=10) for _ in range(200)]
    taken = []
    for one in sockets:
        one.setblocking(False)
        accepted = []
        while True:
            try:
                accepted.append(one.accept()[0])
            except BlockingIOError:
                break
        taken.append(len(accepted))
        for connection in accepted:
            connection.close()
    assert sum(taken) == 200
    assert min(taken) > 20
    with pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", address[1], 2)
    for one in [*clients, *sockets]:
        one.close()


def test_metrics_of_a_master_that_was_killed_are_removed(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead = subprocess.Popen(["true"])
    dead.wait()
    kept = [tmp_path / f"frontend-metrics-{os.getpid()}-x", tmp_path / "frontend-metrics-notes", tmp_path / "other"]
    for folder in [*kept, tmp_path / f"frontend-metrics-{dead.pid}-x"]:
        folder.mkdir()
        (folder / "counter_0.db").write_bytes(b"x")
    made = Path(_metrics_folder())
    assert set(tmp_path.iterdir()) == {made, *kept}
    assert [*made.iterdir()] == []


def test_a_port_that_another_listens_on_is_not_taken():
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", other.getsockname()[1], 2)


def test_processes_are_a_number_or_what_the_machine_allows(monkeypatch):
    assert Settings(processes="3").num_processes == 3
    for cores, processes in ((1, 1), (2, 1), (7, 1), (8, 2), (31, 7), (256, 8)):
        monkeypatch.setattr("frontend.settings.usable_cores", lambda cores=cores: cores)
        assert Settings().num_processes == processes
    for wrong in ("0", "-1", "many", "1.5"):
        with pytest.raises(ValueError, match="processes"):
            Settings(processes=wrong)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 12),
        ({"cpu.max": "max 100000\n"}, 12),
        ({"cpu.max": "250000 100000\n"}, 3),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "9900000 100000\n"}, 12),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 12),
        ({"cpu.max": "nonsense"}, 12),
    ],
)
def test_a_containers_quota_bounds_the_processors(monkeypatch, tmp_path, files, cores):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(12)))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable_cores(tmp_path) == cores
