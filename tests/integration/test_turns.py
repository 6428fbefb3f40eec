"""Live speech beside ten-minute clips, in every room: it is answered while they are worked on, and they are worked on
for no longer than somebody waits."""

import asyncio
import os
import time
import urllib.request

import anyio
import numpy as np
import pytest
import tritonclient.grpc.aio as triton_client
from tritonclient.utils import InferenceServerException

from frontend.triton.client import TritonClient
from frontend.triton.process import EmbeddedTriton
from tests.integration.asking import infer, tensor

LIVE, BULK = {"priority_level": 1}, {"priority_level": 3}
ROOMS = ("vad", "features", "encoder")


@pytest.fixture(scope="module")
def requests(english, chinese):
    """For each room a request of a live step and one of a file of 512 s, in tensors."""
    pcm = np.concatenate([english, chinese])
    long = np.tile(pcm, 512 * 16_000 // pcm.size + 1)[: 512 * 16_000]
    part = pcm[:3_200]
    mel = np.random.default_rng(0).standard_normal((64, 128, 800)).astype(np.float32) - 3

    def blocks(count, length):
        return {
            "MEL": mel[:count, :, :length],
            "FRAMES": np.full((count, 1), length, dtype=np.int32),
            "CLIP_MAX": np.ones((count, 1), dtype=np.float32),
        }

    def spans(samples):
        return np.array([[0, samples.size]], dtype=np.int32)

    return {
        "vad": ({"PCM": part, "STATE": np.zeros(320, dtype=np.float32)}, {"PCM": long}),
        "features": ({"PCM": pcm, "SPEECH": spans(pcm)}, {"PCM": long, "SPEECH": spans(long)}),
        "encoder": (blocks(1, 200), blocks(64, 800)),
    }


def told(triton):
    """What the rooms tell of themselves, values by name and labels; it is a second old."""
    with urllib.request.urlopen(triton.metrics_url, timeout=10) as page:
        lines = page.read().decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if line.startswith("asr_room_"))


@pytest.mark.parametrize("room", ROOMS)
async def test_live_requests_are_answered_before_files_that_came_first(triton, requests, room):
    live, long = requests[room]
    alone = await infer(triton.url, room, LIVE, **live)

    async def answered():
        """How many live requests are while four files take turns and none of them is done."""
        files = [asyncio.create_task(infer(triton.url, room, BULK, **long)) for _ in range(4)]
        count = 0
        while not all(file.done() for file in files):
            among = await infer(triton.url, room, LIVE, **live)
            count += not any(file.done() for file in files)
            for name, value in alone.items():
                np.testing.assert_allclose(among[name], value, atol=1e-5)
        results = await asyncio.gather(*files)
        for name, value in results[0].items():
            assert all(np.array_equal(one[name], value) for one in results[1:])
        return count

    # The first of four files that take turns is done after most of the work; on a busy machine it may be before the
    # others have been sent.
    with anyio.fail_after(60):
        while await answered() < 2:
            pass


@pytest.mark.parametrize("room", ROOMS)
async def test_files_that_wait_go_by_priority(triton, requests, room):
    _, long = requests[room]
    client = TritonClient(triton.url, lambda: triton.control_key)
    num_bulk, num_threads = 6, len(os.sched_getaffinity(0))

    async def handed_over():
        return ((await client.counts(room)) or (0, 0))[0]

    async def waiting():
        """Ask both kinds: those that were answered, in order, and how many were before the others had come."""
        before, done = await handed_over(), []

        async def ask(priority):
            await infer(triton.url, room, {"priority_level": priority}, **long)
            done.append(priority)

        asked = [asyncio.create_task(ask(3)) for _ in range(num_bulk)]
        await asyncio.sleep(0)
        asked += [asyncio.create_task(ask(2)) for _ in range(2)]
        while await handed_over() < before + len(asked):
            await asyncio.sleep(0.01)
        earlier = len(done)
        await asyncio.gather(*asked)
        return done, earlier

    try:
        with anyio.fail_after(120):
            done, earlier = await waiting()
            # Where the machine is busy, files may be done before the next ones have been sent.
            while 2 in done[:earlier] or earlier >= num_bulk - num_threads:
                done, earlier = await waiting()
    finally:
        await client.close()
    # Those at which the threads are when the others come may end before them.
    assert done.index(2) <= earlier + num_threads


@pytest.mark.parametrize("room", ROOMS)
async def test_what_nobody_waits_for_any_more_is_not_computed(triton, requests, room):
    """Calls whose deadline passes end at the server too, after the run that they are in."""
    _, long = requests[room]
    num_calls = 8

    async def done():
        """Requests that the room took and their turns, once nothing of them is under way."""
        while True:
            values = told(triton)
            labels = f'instance="{room}_0_0",model="{room}"'
            names = [f'asr_room_{name}_total{{{labels},priority="3"}}' for name in ("requests", "turns")]
            now = [float(values.get(name, 0)) for name in names]
            waiting = float(values.get(f"asr_room_waiting{{{labels}}}", 0))
            # Twice as long as counts take to be published: whoever computes has another turn by then.
            await asyncio.sleep(2.2)
            if told(triton) == values and not waiting:
                return now

    async def ask(deadline_s):
        """Whether it was answered in time."""
        inputs = [tensor(name, value) for name, value in long.items()]
        async with triton_client.InferenceServerClient(triton.url) as client:
            try:
                await client.infer(room, inputs, parameters=BULK, client_timeout=deadline_s)
            except InferenceServerException as error:
                if error.status() != "StatusCode.DEADLINE_EXCEEDED":
                    raise
                return False
            return True

    with anyio.fail_after(120):
        before = await done()
        began = time.monotonic()
        assert all(await asyncio.gather(*(ask(60) for _ in range(num_calls))))
        deadline_s = (time.monotonic() - began) / 2
        after = await done()
        assert after[0] - before[0] == num_calls
        turns_of_each = (after[1] - before[1]) / num_calls
        expired = taken = 0
        # On a busy machine they may not even have come by then, or all be done.
        while not (expired and taken > num_calls - expired):
            before = after
            expired = num_calls - sum(await asyncio.gather(*(ask(deadline_s) for _ in range(num_calls))))
            after = await done()
            taken = after[0] - before[0]
            deadline_s *= 1.5 if expired else 0.5
    assert after[1] - before[1] < taken * turns_of_each


@pytest.mark.parametrize("room", ROOMS)
async def test_a_wrong_priority_is_refused(triton, requests, room):
    live, _ = requests[room]
    with pytest.raises(Exception, match="priority_level must be one of"):
        await infer(triton.url, room, {"priority_level": 9}, **live)


async def test_what_is_here_when_a_model_is_unloaded_is_answered(settings, requests):
    server = EmbeddedTriton(settings, models=ROOMS)
    await server.start()
    client = TritonClient(server.url, lambda: server.control_key)
    try:
        for room in ROOMS:
            _, long = requests[room]
            # A warm-up is counted as well.
            before, _ = await client.counts(room) or (0, 0)
            asked = [asyncio.create_task(infer(server.url, room, **long)) for _ in range(3)]
            # Triton's counts are of what it has handed over.
            with anyio.fail_after(30):
                while ((await client.counts(room)) or (0, 0))[0] < before + len(asked):
                    await asyncio.sleep(0.01)
            await client.unload(room)
            answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 60)
            assert len(answers) == len(asked)
            assert not any(isinstance(one, Exception) for one in answers), answers
    finally:
        await client.close()
        await server.stop()


async def test_rooms_tell_who_waited_and_what_was_computed(triton, requests):
    for room in ROOMS:
        await infer(triton.url, room, LIVE, **requests[room][0])

    deadline = time.monotonic() + 10
    missing = set(ROOMS)
    while missing and time.monotonic() < deadline:
        values = told(triton)
        for room in tuple(missing):
            labels = f'{{instance="{room}_0_0",model="{room}",priority="1"}}'
            names = ("requests_total", "queue_seconds_total", "compute_seconds_total")
            if all(float(values.get(f"asr_room_{name}{labels}", 0)) > 0 for name in names):
                missing.remove(room)
        await asyncio.sleep(0.1)
    assert not missing
