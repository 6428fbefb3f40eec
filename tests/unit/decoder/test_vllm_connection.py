"""The room's end of vLLM's process, with a process that says what a test wants in place of vLLM."""

import asyncio
import os
import sys
import time

import anyio
import psutil
import pytest
import torch

from export.rooms import room

answering = room("decoder", "vllm_engine.answering")
connection = room("decoder", "vllm_engine.connection")
# As the worker does: a socket of that number, and the same frames.
BEGINNING = """
import asyncio, os, socket, subprocess, sys
sys.path.insert(0, FOLDER)
import frames

READY = {"ready": {"max_tokens": 100, "capacity": 1000, "dtype": "float32"}}
COUNTS = {"steps": 2, "computed_tokens": 9, "kv_tokens": 4}

async def main():
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=int(sys.argv[1])))
    asked, _ = await frames.read(reader)
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """A function of the rest of `main` that launches and starts it; all are closed at the end."""
    made = []

    async def started(rest):
        script = tmp_path / "worker.py"
        body = "".join(f"    {line}\n" for line in rest.strip().splitlines())
        folder = repr(str(connection.WORKER.parent))
        script.write_text(BEGINNING.replace("FOLDER", folder) + body + "\nasyncio.run(main())\n")
        monkeypatch.setattr(connection, "WORKER", script)
        one = connection.launch(sys.executable, dict(os.environ))
        made.append(one)
        await one.start({"model": "m"}, "cpu")
        return one

    yield started
    for one in made:
        one.close()


async def tokens_of(one, rows=None, name="1"):
    return [tokens async for tokens in one.answer(name, torch.ones(3, 4) if rows is None else rows, {"seed": 1}, 2)]


async def test_a_request_goes_there_whole_and_its_tokens_come_back(start):
    one = await start("""
frames.write(writer, READY)
message, payload = await frames.read(reader)
import array
total = sum(array.array("f", payload))
assert message["shape"] == [3, 4] and message["dtype"] == "float32" and message["sampling"] == {"seed": 1}
frames.write(writer, {"answers": [["1", [int(total), message["priority"]], [-1.0, -2.0], 5.0, ""]], "counts": COUNTS})
frames.write(writer, {"answers": [["1", [8], [-3.0], 5.0, "stop"]], "counts": COUNTS})
await asyncio.sleep(60)
""")
    assert (one.max_tokens, one.capacity, one.dtype) == (100, 1000, torch.float32)
    with anyio.fail_after(20):
        first, last = await tokens_of(one)
    assert first == answering.Tokens([12, 2], [-1.0, -2.0], 5.0, "")
    assert last == answering.Tokens([8], [-3.0], 5.0, "stop")
    assert one.counters() == {"steps": 2, "computed_tokens": 9}
    assert one.kv_tokens() == 4


async def test_one_that_nobody_waits_for_is_dropped(start):
    one = await start("""
frames.write(writer, READY)
await frames.read(reader)
frames.write(writer, {"answers": [["1", [7], [-1.0], 5.0, ""]], "counts": COUNTS})
message, _ = await frames.read(reader)
name = message["drop"]
await frames.read(reader)
answers = [["1", [7], [-1.0], 5.0, ""], ["2", [int(name)], [-1.0], 5.0, "stop"]]
frames.write(writer, {"answers": answers, "counts": COUNTS})
await asyncio.sleep(60)
""")
    with anyio.fail_after(20):
        answers = one.answer("1", torch.ones(3, 4), {}, 2)
        assert (await anext(answers)).ids == [7]
        await answers.aclose()
        (told,) = await tokens_of(one, name="2")
    assert told.ids == [1]


async def test_a_request_that_vllm_refuses_fails_by_itself(start):
    one = await start("""
frames.write(writer, READY)
await frames.read(reader)
frames.write(writer, {"answers": [["1", [], [], 0.0, "error: too long"]], "counts": COUNTS})
await asyncio.sleep(60)
""")
    with anyio.fail_after(20):
        with pytest.raises(RuntimeError, match=r"^too long$"):
            await tokens_of(one)
    assert not one.is_lost()


async def test_a_process_that_ends_loses_every_request(start):
    one = await start("""
frames.write(writer, READY)
await frames.read(reader)
await frames.read(reader)
sys.exit(1)
""")
    with anyio.fail_after(20):
        asked = [asyncio.create_task(tokens_of(one, name=name)) for name in ("1", "2")]
        for task in asked:
            with pytest.raises(answering.EngineLost):
                await task
        assert one.is_lost()
        with pytest.raises(answering.EngineLost):
            await tokens_of(one, name="3")


async def test_what_vllm_says_when_it_does_not_start_is_told(start):
    with anyio.fail_after(20):
        with pytest.raises(ValueError, match="vLLM did not start: ValueError: no memory"):
            await start('frames.write(writer, {"failed": "ValueError: no memory"})\nawait writer.drain()')
        with pytest.raises(ValueError, match="vLLM did not start: its process ended"):
            await start("sys.exit(3)")


@pytest.mark.parametrize("end", ["close", "kill"])
async def test_with_it_end_the_processes_that_it_has_started(start, end):
    one = await start("""
child = subprocess.Popen(["sleep", "600"])
frames.write(writer, {"ready": {**READY["ready"], "capacity": child.pid}})
await asyncio.sleep(60)
""")
    child = psutil.Process(one.capacity)
    if end == "close":
        one.close()
    else:
        one._process.kill()
    deadline = time.monotonic() + 20
    while one.folder.exists() or (child.is_running() and child.status() != psutil.STATUS_ZOMBIE):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_a_python_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"vllm_python is .*/python, which cannot be run: No such file"):
        connection.launch(str(tmp_path / "python"), {})


async def test_the_worker_says_that_there_is_no_vllm():
    one = connection.launch(sys.executable, dict(os.environ))
    with anyio.fail_after(60):
        with pytest.raises(ValueError, match="vLLM cannot be imported by"):
            await one.start({}, "cpu")
