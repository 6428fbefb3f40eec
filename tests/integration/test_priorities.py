"""Who goes first under overload, with a decoder that runs one sequence at a time."""

import asyncio
import json
import re
import time

import numpy as np
import pytest

from frontend.triton_process import EmbeddedTriton
from tests.conftest import ROOT
from tests.integration.asking import infer, stream


@pytest.fixture(scope="module")
async def narrow(settings, tmp_path_factory):
    """A server whose decoder has one place to run and one to wait; the rest waits in Triton's queue."""
    repository = tmp_path_factory.mktemp("repository")
    for room in ("vad", "features", "encoder", "decoder"):
        (repository / room).mkdir()
        for part in ("1", "warmup"):
            if (ROOT / "model_repository" / room / part).exists():
                (repository / room / part).symlink_to(ROOT / "model_repository" / room / part)
        config = (ROOT / "model_repository" / room / "config.pbtxt").read_text()
        for name, value in (("max_running", 1), ("max_waiting", 1), ("max_step_tokens", 64)):
            config = re.sub(rf'(key: "{name}" value: {{ string_value: )"\d+"', rf'\1"{value}"', config)
        (repository / room / "config.pbtxt").write_text(config)
    models = ("vad", "features", "encoder", "decoder")
    server = EmbeddedTriton(settings.model_copy(update={"model_repository": repository}), models=models)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(scope="module")
async def speech(narrow, english, chinese):
    pcm = np.concatenate([english, chinese] * 2)
    features = await infer(narrow.url, "features", PCM=pcm, SPEECH=np.array([[0, pcm.size]], dtype=np.int32))
    rows = await infer(narrow.url, "encoder", **features)
    return {"EMBEDDINGS": rows["EMBEDDINGS"], "FRAMES": features["FRAMES"]}


async def finished(narrow, speech, parameters=None, **options):
    """RESULT and when it came, of an answer that takes a while."""
    parameters = {**(parameters or {}), "min_new_tokens": 300, "max_new_tokens": 300}
    responses = await stream(narrow.url, "decoder", parameters, **options, **speech)
    return json.loads(responses[-1]["RESULT"][0]), time.monotonic()


async def test_tritons_own_priority_orders_its_queue(narrow, speech):
    """Nothing but Triton's priority is set: the engine takes all as equal, Triton hands out the urgent ones first."""
    waiting = [asyncio.create_task(finished(narrow, speech, priority=3)) for _ in range(10)]
    await asyncio.sleep(0.05)
    urgent = [asyncio.create_task(finished(narrow, speech, priority=1)) for _ in range(2)]
    bulk_times = sorted([when for _, when in await asyncio.gather(*waiting)])
    for _, when in await asyncio.gather(*urgent):
        # Those already handed over to the engine (one runs, one waits, one is on its way) may go before.
        assert sum(other < when for other in bulk_times) <= 5


async def test_a_live_request_takes_the_place_of_bulk_which_answers_the_same(narrow, speech):
    alone, _ = await finished(narrow, speech)
    bulk = [
        asyncio.create_task(finished(narrow, speech, priority=3, parameters={"priority_level": 3})) for _ in range(2)
    ]
    await asyncio.sleep(0.03)
    live, live_time = await finished(narrow, speech, priority=1, parameters={"priority_level": 1})
    results = await asyncio.gather(*bulk)
    assert sum(when < live_time for _, when in results) <= 1
    assert {result["text"] for result, _ in results} == {live["text"]} == {alone["text"]}
