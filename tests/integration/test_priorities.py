"""Who goes first under overload, with a decoder that runs one sequence at a time."""

import asyncio
import json
import time
import urllib.request

import numpy as np
import pytest

from frontend.triton.process import EmbeddedTriton
from tests.endings import stop_later
from tests.integration.asking import infer, stream
from tests.integration.repositories import linked_repository


@pytest.fixture(scope="module")
async def narrow(settings, tmp_path_factory):
    """A server whose decoder runs one request at a time and lets two of level 2 wait."""
    changes = {"decoder": {"max_running": "1", "max_waiting": "8,2,16", "max_step_tokens": "64"}}
    repository = linked_repository(tmp_path_factory.mktemp("repository"), changes)
    models = ("vad", "features", "encoder", "decoder")
    server = EmbeddedTriton(settings.model_copy(update={"model_repository": repository}), models=models)
    await server.start()
    yield server
    stop_later(server)


@pytest.fixture(scope="module")
async def speech(narrow, english, chinese):
    pcm = np.concatenate([english, chinese] * 2)
    features = await infer(narrow.url, "features", PCM=pcm, SPEECH=np.array([[0, pcm.size]], dtype=np.int32))
    rows = await infer(narrow.url, "encoder", **features)
    return {"EMBEDDINGS": rows["EMBEDDINGS"], "FRAMES": features["FRAMES"]}


async def finished(narrow, speech, parameters=None):
    """RESULT and when it came, of an answer that takes a while."""
    parameters = {**(parameters or {}), "min_new_tokens": 300, "max_new_tokens": 300}
    responses = await stream(narrow.url, "decoder", parameters, **speech)
    return json.loads(responses[-1]["RESULT"][0]), time.monotonic()


async def test_live_requests_overtake_the_bulk_that_waits(narrow, speech):
    waiting = [asyncio.create_task(finished(narrow, speech, {"priority_level": 3})) for _ in range(10)]
    await asyncio.sleep(0.05)
    urgent = [asyncio.create_task(finished(narrow, speech, {"priority_level": 1})) for _ in range(2)]
    bulk_times = sorted([when for _, when in await asyncio.gather(*waiting)])
    for _, when in await asyncio.gather(*urgent):
        # The one that runs when they come may end before it gives way.
        assert sum(other < when for other in bulk_times) <= 2


async def test_beyond_its_places_a_level_is_refused_at_once_and_others_are_served(narrow, speech):
    asked = [asyncio.create_task(finished(narrow, speech)) for _ in range(6)]
    await asyncio.sleep(0.05)
    live, _ = await finished(narrow, speech, {"priority_level": 1})
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Exception)]
    # One runs and two wait; a fourth may have come when the first was done.
    assert 2 <= len(refused) <= 3
    for error in refused:
        assert "UNAVAILABLE: 3 requests of priority 2 are here: try again later" in str(error)
    assert {answer[0]["text"] for answer in answers if not isinstance(answer, Exception)} == {live["text"]}
    # The engine's counts are published twice a second.
    await asyncio.sleep(1.2)
    with urllib.request.urlopen(f"http://127.0.0.1:{narrow.metrics_port}/metrics", timeout=10) as page:
        told = page.read().decode()
    assert f'asr_decoder_refused_requests_total{{model="decoder"}} {len(refused)}\n' in told


async def test_a_live_request_takes_the_place_of_bulk_which_answers_the_same(narrow, speech):
    alone, _ = await finished(narrow, speech)
    bulk = [asyncio.create_task(finished(narrow, speech, {"priority_level": 3})) for _ in range(2)]
    await asyncio.sleep(0.03)
    live, live_time = await finished(narrow, speech, {"priority_level": 1})
    results = await asyncio.gather(*bulk)
    assert sum(when < live_time for _, when in results) <= 1
    assert {result["text"] for result, _ in results} == {live["text"]} == {alone["text"]}
