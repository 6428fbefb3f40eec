"""The decoder by vLLM behind the same tensors, with the real vLLM: run with -m slow where that is installed."""

import asyncio
import json
import signal
import time
import urllib.request

import anyio
import httpx
import numpy as np
import psutil
import pytest
from tritonclient.utils import InferenceServerException

from export.vllm import FOLDER
from frontend.triton.client import TritonClient
from frontend.triton.process import EmbeddedTriton
from perf.service import running_service
from perf.speech.clips import mixed_clips
from tests.conftest import RECORDINGS
from tests.endings import stop_later
from tests.integration.asking import answer, infer, stream
from tests.integration.repositories import linked_repository
from tests.integration.test_asr_stream import check_exact, fed, listen, of

PYTHON = FOLDER / "bin" / "python"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not PYTHON.is_file(), reason="vLLM is not installed: `python -m export vllm`"),
]
# It imports for half a minute, on a machine that others share for longer.
START_S = 300


@pytest.fixture(scope="module")
async def served(settings, tmp_path_factory):
    """A server whose decoder is vLLM's, runs two requests at a time and lets four of level 2 wait."""
    parameters = {"engine": "vllm", "vllm_python": str(PYTHON), "kv_cache_mb": "128"}
    parameters |= {"max_running": "2", "max_waiting": "16,4,16", "max_step_tokens": "64"}
    repository = linked_repository(tmp_path_factory.mktemp("repository"), {"decoder": parameters})
    changed = {"model_repository": repository, "triton_start_timeout_s": START_S}
    server = EmbeddedTriton(settings.model_copy(update=changed), models=("asr", "asr_step", "asr_stream"))
    await server.start()
    yield server
    stop_later(server)


@pytest.fixture(scope="module")
async def by_vllm(served):
    client = TritonClient(served.url)
    yield client
    await client.close()


@pytest.fixture(scope="module")
async def speech(served, english, chinese):
    """Blocks of 30 s of speech: EMBEDDINGS and FRAMES, the last block not full."""
    pcm = np.concatenate([english, chinese] * 3)
    features = await infer(served.url, "features", PCM=pcm, SPEECH=np.array([[0, pcm.size]], dtype=np.int32))
    rows = await infer(served.url, "encoder", **features)
    return {"EMBEDDINGS": rows["EMBEDDINGS"], "FRAMES": features["FRAMES"]}


async def ask(served, parameters=None, first_block=0, request_id="", **inputs):
    """Token ids and RESULT of an answer; `first_block` leaves out the blocks before it."""
    sent = {name: value[first_block:] for name, value in inputs.items() if name in ("EMBEDDINGS", "FRAMES")}
    extra = {name: value for name, value in inputs.items() if name not in sent}
    responses = await stream(served.url, "decoder", parameters, request_id, **sent, **extra)
    ids = np.concatenate([one["TOKEN_IDS"] for one in responses]).tolist()
    return ids, json.loads(responses[-1]["RESULT"][0])


async def finished(served, speech, parameters=None, request_id=""):
    """RESULT and when it came, of an answer that takes a while: longer than the metrics are apart."""
    asked = {**(parameters or {}), "min_new_tokens": 1000, "max_new_tokens": 1000, "repetition_guard": False}
    _, result = await ask(served, asked, request_id=request_id, **speech)
    return result, time.monotonic()


def told(server):
    """The decoder's metrics by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=10) as page:
        lines = [line for line in page.read().decode().splitlines() if line.startswith("asr_decoder_")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def until(condition, timeout_s=30):
    with anyio.fail_after(timeout_s):
        while not condition():
            await asyncio.sleep(0.1)


async def test_tokens_texts_and_probabilities_are_those_of_our_engine(client, by_vllm, english, chinese):
    for pcm in (english, chinese, *mixed_clips(6)):
        ours, expected = await answer(client, pcm)
        deltas, result = await answer(by_vllm, pcm)
        for key in ("text", "language", "finish_reason", "usage"):
            assert result[key] == expected[key]
        assert "".join(one.text for one in deltas) == result["text"]
        for name in ("tokens", "logprobs"):
            found, wanted = ([part for one in told for part in getattr(one, name)] for told in (deltas, ours))
            assert found == (wanted if name == "tokens" else pytest.approx(wanted, abs=1e-3))
    assert len(deltas) > 1


async def test_a_forced_language_and_a_context_reach_it(by_vllm, english):
    _, result = await answer(by_vllm, english, language="en", context="four two seven")
    assert (result["text"], result["language"]) == ("four two seven nine zero one five", "English")


async def test_live_partials_and_finals_are_offline_decoding(served, by_vllm, english, chinese):
    pcm = np.concatenate([english, np.zeros(8_000, dtype=np.float32), chinese, chinese])
    events = await listen(served.url, fed(pcm, pause_s=0.05), partial_interval_ms=200)
    assert len(await check_exact(by_vllm, pcm, events)) > 4
    assert next(event["text"] for event in of(events, "final")) == "four two seven nine zero one five"
    assert of(events, "error") == []


async def test_a_session_sends_only_what_is_new(served, speech):
    plain, whole = await ask(served, **speech)
    count = len(speech["FRAMES"])
    first = {name: value[:2] for name, value in speech.items()}
    await ask(served, {"session": "s", "keep_blocks": 2}, **first)
    kept = {"session": "s", "cached_blocks": 2, "keep_blocks": count - 1}
    draft = np.array(plain, dtype=np.int32)
    ids, result = await ask(served, kept, first_block=2, **speech, DRAFT_IDS=draft)
    assert (ids, result["text"]) == (plain, whole["text"])
    assert result["draft"] == {"tokens": 0, "accepted": 0}
    assert result["usage"]["prompt_tokens"] == whole["usage"]["prompt_tokens"]
    ids, _ = await ask(served, {"session": "s", "cached_blocks": count - 1}, first_block=count - 1, **speech)
    assert ids == plain
    # keep_blocks was left out: the session has ended.
    _, result = await ask(served, kept, first_block=2, **speech)
    assert result["finish_reason"] == "evicted"


async def test_what_was_computed_before_is_found_again(served, speech):
    before = told(served)['asr_decoder_computed_tokens_total{model="decoder"}']
    # Nobody has sent this context before.
    context = np.array([b"seven nine"], dtype=np.object_)
    for _ in range(2):
        _, result = await ask(served, **speech, CONTEXT=context)
    await asyncio.sleep(1.2)
    computed = told(served)['asr_decoder_computed_tokens_total{model="decoder"}'] - before
    prompt, completion = result["usage"]["prompt_tokens"], result["usage"]["completion_tokens"]
    # All but the last pages of the second prompt.
    assert prompt + 2 * completion < computed < 1.6 * prompt + 2 * completion


async def test_live_requests_overtake_the_bulk_that_waits(served, speech):
    waiting = [asyncio.create_task(finished(served, speech, {"priority_level": 3})) for _ in range(8)]
    await until(lambda: told(served)['asr_decoder_waiting{model="decoder",priority="3"}'] > 2)
    urgent = asyncio.create_task(finished(served, speech, {"priority_level": 1}))
    bulk_times = sorted([when for _, when in await asyncio.gather(*waiting)])
    _, when = await urgent
    # Three were with vLLM when it came.
    assert sum(other < when for other in bulk_times) <= 4


async def test_beyond_its_places_a_level_is_refused_at_once_and_others_are_served(served, speech):
    asked = [asyncio.create_task(finished(served, speech)) for _ in range(9)]
    await until(lambda: told(served)['asr_decoder_waiting{model="decoder",priority="2"}'] > 0)
    live, _ = await finished(served, speech, {"priority_level": 1})
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [one for one in answers if isinstance(one, Exception)]
    assert len(refused) == 3
    for error in refused:
        assert "UNAVAILABLE: 6 requests of priority 2 are here: try again later" in str(error)
    assert {one[0]["text"] for one in answers if not isinstance(one, Exception)} == {live["text"]}


async def test_a_request_that_is_cancelled_frees_its_place(served, speech):
    asked = [asyncio.create_task(finished(served, speech, request_id=f"c{number}")) for number in range(5)]
    await until(lambda: told(served)['asr_decoder_running{model="decoder",priority="2"}'] == 3)
    nothing = {"EMBEDDINGS": np.zeros((1, 0, 128), dtype=np.float32), "FRAMES": np.zeros((1, 1), dtype=np.int32)}
    for number in range(5):
        await stream(served.url, "decoder", {"cancel": f"c{number}"}, **nothing)
    results = [result for result, _ in await asyncio.gather(*asked)]
    assert "cancelled" in [result["finish_reason"] for result in results]
    # One that leaves says nothing: it is seen.
    leaving = asyncio.create_task(finished(served, speech))
    await until(lambda: told(served)['asr_decoder_running{model="decoder",priority="2"}'] == 1)
    leaving.cancel()
    await until(lambda: told(served)['asr_decoder_running{model="decoder",priority="2"}'] == 0)
    await until(lambda: told(served)['asr_decoder_kv_tokens_used{model="decoder"}'] == 0)


async def test_a_temperature_is_repeatable_by_its_seed(served, speech):
    asked = {"temperature": 1.5, "max_new_tokens": 40, "min_new_tokens": 40, "repetition_guard": False}
    first, _ = await ask(served, {**asked, "seed": 5}, **speech)
    again, _ = await ask(served, {**asked, "seed": 5}, **speech)
    other, _ = await ask(served, {**asked, "seed": -1}, **speech)
    assert first == again
    assert first != other
    assert len(first) == 40


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hotwords": '["seven"]'}, "INVALID_ARGUMENT: hotwords are not to be had of the engine vllm"),
        ({"temperature": 3}, "INVALID_ARGUMENT: temperature must lie between 0 and 2"),
        ({"max_new_tokens": 100_000}, "INVALID_ARGUMENT: max_new_tokens must be at most"),
    ],
)
async def test_what_it_cannot_do_is_refused_in_words(served, speech, parameters, message):
    with pytest.raises(InferenceServerException, match=message):
        await ask(served, parameters, **speech)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"vllm_arguments": '{\\"swap\\": 1}'}, "vllm_arguments names swap, which this vLLM does not know"),
        ({"device": "cuda"}, "device is cuda, but this vLLM computes on cpu"),
        # By the Python of everything else.
        ({"vllm_python": ""}, "vLLM cannot be imported by /"),
        ({"draft_checkpoint": "../../decoder_fast/1/checkpoint"}, "the engine vllm has no draft_checkpoint"),
    ],
)
async def test_a_configuration_that_does_not_fit_is_refused_in_words(settings, tmp_path, parameters, message):
    changes = {"decoder": {"engine": "vllm", "vllm_python": str(PYTHON), **parameters}}
    repository = linked_repository(tmp_path / "repository", changes)
    changed = {"model_repository": repository, "triton_start_timeout_s": START_S}
    server = EmbeddedTriton(settings.model_copy(update=changed), models=("decoder",))
    with pytest.raises(RuntimeError):
        await server.start()
    assert message in server.log_path.read_text()


@pytest.mark.parametrize("victim", ["VLLM::EngineCore", "worker.py"])
async def test_where_vllm_dies_the_model_is_loaded_again(tmp_path, victim):
    environment = {"ASR_CACHE_DIR": str(tmp_path), "ASR_MODEL_CONFIG_NAME": "vllm"}
    content = (RECORDINGS / "english.flac").read_bytes()
    with running_service(START_S, ASR_TRITON_START_TIMEOUT_S=str(START_S), **environment) as service:
        family = psutil.Process(service.pid).children(recursive=True)
        (process,) = [one for one in family if any(part.endswith(victim) for part in one.cmdline()[:3])]
        others = [one for one in family if one.cmdline() and "VLLM" in one.cmdline()[0]]
        async with httpx.AsyncClient(base_url=service.url, timeout=START_S) as client:
            form = {"files": {"file": content}, "data": {"model": "whisper-1"}}
            assert (await client.post("/v1/audio/transcriptions", **form)).json()["text"]
            process.send_signal(signal.SIGKILL)
            with anyio.fail_after(START_S):
                while not (await client.get("/health")).json()["healed"].get("decoder"):
                    await asyncio.sleep(0.5)
                while (await client.get("/health/ready")).status_code != 200:
                    await asyncio.sleep(0.5)
            answered = await client.post("/v1/audio/transcriptions", **form)
            assert answered.json()["text"] == "four two seven nine zero one five"
            refused = await client.post(
                "/v1/audio/transcriptions", **{**form, "data": {**form["data"], "hotwords": "a"}}
            )
            assert refused.status_code == 400
            assert "hotwords are not to be had of the engine vllm" in refused.json()["error"]["message"]
        # None of the first one's processes is left.
        assert not [one for one in others if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
