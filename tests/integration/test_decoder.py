"""The decoder over gRPC: drafts, sessions, commands, priorities and metrics."""

import asyncio
import json
import urllib.request

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from tests.integration.asking import infer, stream

NOTHING = {"EMBEDDINGS": np.zeros((1, 0, 128), dtype=np.float32), "FRAMES": np.zeros((1, 1), dtype=np.int32)}


@pytest.fixture(scope="module")
async def speech(triton, english, chinese):
    """Blocks of 30 s of speech: EMBEDDINGS and FRAMES, the last block not full."""
    pcm = np.concatenate([english, chinese] * 3)
    spans = np.array([[0, pcm.size]], dtype=np.int32)
    features = await infer(triton.url, "features", PCM=pcm, SPEECH=spans)
    rows = await infer(triton.url, "encoder", **features)
    return {"EMBEDDINGS": rows["EMBEDDINGS"], "FRAMES": features["FRAMES"]}


async def ask(triton, parameters=None, first_block=0, **inputs):
    """Token ids and RESULT of an answer; `first_block` leaves out the blocks before it."""
    sent = {name: inputs[name][first_block:] for name in ("EMBEDDINGS", "FRAMES")}
    extra = {name: value for name, value in inputs.items() if name not in sent}
    responses = await stream(triton.url, "decoder", parameters, **sent, **extra)
    ids = np.concatenate([one["TOKEN_IDS"] for one in responses]).tolist()
    return ids, json.loads(responses[-1]["RESULT"][0])


async def test_a_draft_changes_nothing_but_the_price(triton, speech):
    plain, result = await ask(triton, **speech)
    assert result["draft"] == {"tokens": 0, "accepted": 0}
    same, result = await ask(triton, **speech, DRAFT_IDS=np.array(plain, dtype=np.int32))
    assert same == plain
    assert result["draft"] == {"tokens": len(plain), "accepted": len(plain)}
    wrong, result = await ask(triton, **speech, DRAFT_IDS=np.array([5, 6, 7], dtype=np.int32))
    assert wrong == plain
    assert result["draft"] == {"tokens": 3, "accepted": 0}


async def test_who_wants_no_deltas_gets_one_answer_with_everything(triton, speech):
    told = await stream(triton.url, "decoder", **speech)
    assert len(told) > 1
    (whole,) = await stream(triton.url, "decoder", {"deltas": False}, **speech)
    for name in ("TOKEN_IDS", "TOKENS", "LOGPROBS"):
        assert whole[name].tolist() == np.concatenate([one[name] for one in told]).tolist()
    assert whole["TEXT"][0] == b"".join(one["TEXT"][0] for one in told)
    assert json.loads(whole["RESULT"][0])["text"] == json.loads(told[-1]["RESULT"][0])["text"]
    with pytest.raises(InferenceServerException, match="INVALID_ARGUMENT: deltas must be true or false, not 'no'"):
        await stream(triton.url, "decoder", {"deltas": "no"}, **speech)


async def test_outputs_that_are_not_asked_for_are_not_made(triton, speech):
    told = await stream(triton.url, "decoder", outputs=("FINAL", "RESULT"), **speech)
    assert {name for one in told for name in one} == {"FINAL", "RESULT"}
    assert json.loads(told[-1]["RESULT"][0])["finish_reason"] == "stop"


async def test_a_session_sends_only_what_is_new(triton, speech):
    plain, whole = await ask(triton, **speech)
    count = len(speech["FRAMES"])
    assert count >= 4
    first = {name: value[:2] for name, value in speech.items()}
    await ask(triton, {"session": "s", "keep_blocks": 2}, **first)
    ids, result = await ask(
        triton, {"session": "s", "cached_blocks": 2, "keep_blocks": count - 1}, first_block=2, **speech
    )
    assert ids == plain
    assert result["text"] == whole["text"]
    ids, _ = await ask(triton, {"session": "s", "cached_blocks": count - 1}, first_block=count - 1, **speech)
    assert ids == plain
    # keep_blocks was left out: the session has ended.
    _, result = await ask(triton, {"session": "s", "cached_blocks": 2, "keep_blocks": 2}, first_block=2, **speech)
    assert result["finish_reason"] == "evicted"


async def test_a_session_can_be_ended_by_name(triton, speech):
    await ask(triton, {"session": "gone", "keep_blocks": 2}, **speech)
    await stream(triton.url, "decoder", {"end_session": "gone"}, **NOTHING)
    _, result = await ask(triton, {"session": "gone", "cached_blocks": 2}, first_block=2, **speech)
    assert result["finish_reason"] == "evicted"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cached_blocks": 1}, "need a session"),
        ({"session": "x", "keep_blocks": 99}, "keep_blocks must lie within"),
        ({"session": "x", "cached_blocks": -1}, "cached_blocks must lie within 0 and 100000"),
        ({"session": "x", "cached_blocks": 2**63 - 1}, "cached_blocks must lie within 0 and 100000"),
    ],
)
async def test_session_mistakes_are_refused(triton, speech, parameters, message):
    with pytest.raises(InferenceServerException, match=message):
        await ask(triton, parameters, **speech)


async def test_unfinished_blocks_are_not_kept(triton, speech):
    with pytest.raises(InferenceServerException, match="only full blocks"):
        await ask(triton, {"session": "x", "keep_blocks": len(speech["FRAMES"])}, **speech)


async def test_foreign_draft_tokens_are_refused(triton, speech):
    with pytest.raises(InferenceServerException, match="DRAFT_IDS must lie within"):
        await ask(triton, **speech, DRAFT_IDS=np.array([1_000_000], dtype=np.int32))


LONG = {"temperature": 2.0, "min_new_tokens": 6_000, "max_new_tokens": 6_000}


async def test_cancelling_by_id_ends_an_answer_that_is_under_way(triton, speech):
    others = [asyncio.create_task(stream(triton.url, "decoder", **speech)) for _ in range(3)]
    began = asyncio.Event()
    job = asyncio.create_task(
        stream(triton.url, "decoder", LONG, request_id="job", on_response=lambda _: began.set(), **speech)
    )
    await asyncio.wait_for(began.wait(), 30)
    await stream(triton.url, "decoder", {"cancel": "job"}, **NOTHING)
    result = json.loads((await job)[-1]["RESULT"][0])
    assert result["finish_reason"] == "cancelled"
    assert 0 < result["usage"]["completion_tokens"] < 6_000
    for other in others:
        assert json.loads((await other)[-1]["RESULT"][0])["finish_reason"] == "stop"


async def test_a_cancel_request_may_come_first(triton, speech):
    """Requests overtake each other on their way through an ensemble and its queues."""
    await stream(triton.url, "decoder", {"cancel": "late"}, **NOTHING)
    result = json.loads((await stream(triton.url, "decoder", request_id="late", **speech))[-1]["RESULT"][0])
    assert result["finish_reason"] == "cancelled"
    # It was meant for one request, not for all of that name.
    result = json.loads((await stream(triton.url, "decoder", request_id="late", **speech))[-1]["RESULT"][0])
    assert result["finish_reason"] == "stop"


async def test_metrics_tell_what_the_engine_does(triton, speech):
    plain, _ = await ask(triton, **speech)
    await ask(triton, **speech, DRAFT_IDS=np.array(plain, dtype=np.int32))
    await asyncio.sleep(1.2)

    def scraped():
        with urllib.request.urlopen(f"http://127.0.0.1:{triton.metrics_port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("asr_")}

    metrics = await asyncio.to_thread(scraped)
    assert metrics['asr_decoder_generated_tokens_total{model="decoder"}'] > len(plain)
    assert metrics['asr_decoder_accepted_tokens_total{model="decoder"}'] >= len(plain)
    assert metrics['asr_decoder_steps_total{model="decoder"}'] > 0
    assert metrics['asr_decoder_network_cpu_seconds_total{model="decoder"}'] > 0
    assert metrics['asr_decoder_running{model="decoder",priority="2"}'] == 0
    assert metrics['asr_decoder_kv_tokens_used{model="decoder"}'] >= 0
