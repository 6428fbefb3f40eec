"""The child process: started, stopped, and gone whatever happens to its parent."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from frontend.settings import Settings
from frontend.triton.client import TritonClient
from frontend.triton.process import EmbeddedTriton, TritonError, free_port, is_free, remove_stale_shared_memory
from perf.chaos.victims import processes_of
from tests.conftest import ROOT

PARENT = """
import asyncio, sys
from pathlib import Path
from frontend.settings import Settings
from frontend.triton.process import EmbeddedTriton

async def main():
    settings = Settings(cache_dir=Path(sys.argv[1]), triton_stop_timeout_s=6)
    triton = EmbeddedTriton(settings, models=("vad",))
    await triton.start()
    print(triton.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def shared_memory_of(pid):
    return list(Path("/dev/shm").glob(f"qwen3_asr_{pid}_*"))


async def test_starts_listens_on_loopback_only_and_stops_clean(settings):
    triton = EmbeddedTriton(settings, models=("vad",))
    await triton.start()
    process = psutil.Process(triton.pid)
    family = [process, *process.children(recursive=True)]
    listening = {connection.laddr.ip for connection in process.net_connections() if connection.status == "LISTEN"}
    assert listening
    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}
    # The secret is nobody's to read, once Triton has read it.
    assert not [member for member in family if triton.control_key in str(member.cmdline()) + str(member.environ())]
    client = TritonClient(triton.url, lambda: triton.control_key)
    assert (await client.repository())["vad"] == "READY"
    assert await client.is_ready("vad")
    assert not await client.is_ready("asr")
    await client.close()
    await triton.stop()
    assert not triton.is_running()
    # Who was killed with the session is not waited for.
    _, left = psutil.wait_procs(family, timeout=5)
    assert not [member for member in left if member.is_running() and member.status() != psutil.STATUS_ZOMBIE]
    assert not [path for path in shared_memory_of(os.getpid()) if str(triton.grpc_port) in path.name]


async def test_two_run_side_by_side(settings, triton, client):
    other = EmbeddedTriton(settings, models=("vad",))
    await other.start()
    assert other.url != triton.url
    await other.stop()
    assert await client.is_ready("asr")


async def test_a_port_that_somebody_takes_at_the_last_moment_costs_no_start(settings):
    """Between the look at the port and Triton's own try another server may begin to listen there."""
    triton = EmbeddedTriton(settings, models=("vad",))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", triton.grpc_port))
        other.listen()
        taken = triton.grpc_port
        assert not is_free(taken)
        await triton.start()
    assert triton.grpc_port != taken
    client = TritonClient(triton.url)
    assert await client.is_ready("vad")
    await client.close()
    await triton.stop()


async def test_a_port_of_metrics_that_is_taken_costs_no_start_and_not_the_other_port(settings):
    triton = EmbeddedTriton(settings, models=("vad",))
    wanted = triton.grpc_port
    with socket.create_server(("127.0.0.1", 0)) as other:
        triton.metrics_port = other.getsockname()[1]
        await triton.start()
        assert (triton.grpc_port, triton.metrics_port == other.getsockname()[1]) == (wanted, False)
    await triton.stop()


async def test_the_usual_port_is_taken_where_it_is_free(settings):
    wanted = free_port()
    asked = settings.model_copy(update={"triton_grpc_port": wanted})
    first = EmbeddedTriton(asked, models=("vad",))
    assert first.grpc_port == wanted
    await first.start()
    assert EmbeddedTriton(asked, models=("vad",)).grpc_port not in (0, wanted)
    await first.stop()
    assert is_free(wanted)


async def test_what_the_disk_refuses_is_a_reason_and_may_be_tried_again(tmp_path):
    cache = tmp_path / "cache"
    cache.write_text("no folder")
    triton = EmbeddedTriton(Settings(cache_dir=cache), models=("vad",))
    with pytest.raises(TritonError, match=r"cannot be started: .*cache"):
        await triton.start()
    cache.unlink()
    await triton.start()
    await triton.stop()


async def test_a_configuration_that_cannot_be_sized_is_a_reason(tmp_path):
    (tmp_path / "repository" / "asr_stream").mkdir(parents=True)
    (tmp_path / "repository" / "asr_stream" / "config.pbtxt").write_text("nonsense {")
    settings = Settings(cache_dir=tmp_path, model_repository=tmp_path / "repository", processes="2")
    with pytest.raises(TritonError, match=r"asr_stream/config\.pbtxt cannot be read"):
        await EmbeddedTriton(settings, models=("asr_stream",)).start()


async def test_a_broken_repository_is_said_and_leaves_nothing(tmp_path):
    (tmp_path / "repository" / "asr").mkdir(parents=True)
    (tmp_path / "repository" / "asr" / "config.pbtxt").write_text("nonsense {")
    triton = EmbeddedTriton(Settings(cache_dir=tmp_path, model_repository=tmp_path / "repository"))
    with pytest.raises(TritonError, match=r"log: .*triton-"):
        await triton.start()
    assert not triton.is_running()


async def test_too_slow_a_start_is_given_up(settings, tmp_path):
    triton = EmbeddedTriton(settings.model_copy(update={"triton_start_timeout_s": 0.05}))
    with pytest.raises(TritonError, match="not ready in"):
        await triton.start()
    assert not triton.is_running()


@pytest.mark.parametrize(
    ("how", "stands"),
    [(signal.SIGKILL, False), (signal.SIGTERM, False), (signal.SIGKILL, True)],
    ids=["killed", "told to end", "killed beside a model that stands still"],
)
def test_the_child_ends_with_its_parent(tmp_path, how, stands):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    child = psutil.Process(int(parent.stdout.readline()))
    family = [child, *child.children(recursive=True)]
    if stands:
        # Triton waits for it for ever.
        processes_of(parent.pid, "vad")[0].send_signal(signal.SIGSTOP)
    parent.send_signal(how)
    parent.wait(10)
    deadline = time.monotonic() + 30
    while any(m.is_running() and m.status() != psutil.STATUS_ZOMBIE for m in family) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(m.is_running() and m.status() != psutil.STATUS_ZOMBIE for m in family)
    remove_stale_shared_memory()
    assert shared_memory_of(parent.pid) == []


async def test_servers_that_start_together_do_not_take_each_others_answers_for_their_own(settings):
    """Both see the port free; Triton listens when its models are loaded."""
    wanted = settings.model_copy(update={"triton_grpc_port": free_port()})
    servers = [EmbeddedTriton(wanted, models=("features",)) for _ in range(2)]
    try:
        await asyncio.gather(*(server.start() for server in servers))
        assert len({server.url for server in servers}) == 2
        assert all(server.is_running() for server in servers)
    finally:
        for server in servers:
            await server.stop()
