"""Live transcription over gRPC, through the real Triton."""

import asyncio
import json

import grpc
import jsonschema
import numpy as np
import pytest
import tritonclient.grpc.aio as triton_client
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from frontend.triton.client import TritonClient
from frontend.triton.control import GRPC_HEADER
from frontend.triton.process import EmbeddedTriton
from perf.live_client import LiveClient
from tests.conftest import ROOT
from tests.endings import stop_later
from tests.integration.asking import text
from tests.integration.repositories import linked_repository

REPOSITORY = ROOT / "model_repository"
SCHEMA = json.loads((REPOSITORY / "asr_stream" / "events.schema.json").read_text())
TIMEOUT_S = 60


async def listen(url, feed, **settings):
    """Events of a session: `feed` is called with the client, then the sequence ends."""
    async with LiveClient(url) as client:

        async def speak():
            client.send(None, **settings)
            await feed(client)
            client.send(None, end=True)

        speaking = asyncio.create_task(speak())
        events = await asyncio.wait_for(collected(client), TIMEOUT_S)
        await speaking
    for event in events:
        jsonschema.validate(event, SCHEMA)
    return events


async def collected(client):
    return [event async for event in client.events()]


def fed(pcm, chunk=1_600, pause_s=0.004):
    async def feed(client):
        for start in range(0, pcm.size, chunk):
            client.send(pcm[start : start + chunk])
            await asyncio.sleep(pause_s)

    return feed


def of(events, kind):
    return [event for event in events if event["type"] == kind]


async def check_exact(client, pcm, events, parameters=(), **options):
    texts, asked = of(events, "partial") + of(events, "final"), dict(parameters)
    for event in texts:
        part = pcm[event["start_sample"] : event["end_sample"]]
        assert event["text"] == await text(client, part, parameters={**asked, "vad": "off"}, **options), event
    return texts


async def test_partials_and_finals_equal_the_ensemble(triton, client, english, chinese):
    pcm = np.concatenate([english, np.zeros(8_000, dtype=np.float32), chinese])
    # Five times as fast as real time: steps are some time apart, and audio that comes at once has few of them.
    events = await listen(triton.url, fed(pcm, pause_s=0.02), partial_interval_ms=200)
    assert len(await check_exact(client, pcm, events)) > 8
    assert [event["text"] for event in of(events, "final")] == ["four two seven nine zero one five", "三八零二六"]
    assert events[-1] == {"type": "closed", "reason": "end", "end": pcm.size / 16_000, "end_sample": pcm.size}


async def test_partials_with_hotwords_are_offline_decoding_with_them(triton, client, english):
    """Words that are tried and given back, and words that stay, in the middle of drafts and sessions."""
    pcm = np.concatenate([english, np.zeros(8_000, dtype=np.float32), english])
    phrases = ["two seven five", "nine zero two", "zero one nine", "one six", "four four"]
    hotwords = json.dumps(
        [{"phrase": one, "weight": weight} for one, weight in zip(phrases, (2, 3, 7, 2, 3), strict=True)]
    )
    events = await listen(triton.url, fed(pcm, pause_s=0.02), partial_interval_ms=200, hotwords=hotwords)
    assert len(await check_exact(client, pcm, events, {"hotwords": hotwords})) > 8
    for final in of(events, "final"):
        assert "zero one nine" in final["text"]


async def test_wrong_hotwords_are_refused_at_once(triton, english):
    events = await listen(triton.url, fed(english), hotwords="[1]")
    assert [error["code"] for error in of(events, "error")] == ["invalid"]
    assert "hotword" in of(events, "error")[0]["message"]


async def test_int16_is_float32(triton, english):
    shorts = np.round(english * 32_767).astype(np.int16)
    floats = shorts.astype(np.float32) / 32_768
    told = [await listen(triton.url, fed(pcm), vad="off", partial_interval_ms=60_000) for pcm in (shorts, floats)]
    assert told[0] == told[1]


async def test_many_sessions_at_once_hear_their_own(triton, english, chinese):
    clips = [english, chinese] * 8
    told = await asyncio.gather(*(listen(triton.url, fed(pcm, pause_s=0.02)) for pcm in clips))
    for index, events in enumerate(told):
        finals = "".join(event["text"] for event in of(events, "final"))
        assert finals == ("三八零二六" if index % 2 else "four two seven nine zero one five")


async def test_flush_reset_and_settings_in_mid_session(triton, english):
    async def feed(client):
        await fed(english[:40_000])(client)
        client.send(None, command="flush")
        await fed(english[40_000:54_000])(client)
        client.send(None, command="reset")
        client.send(None, language="zh")
        await fed(english)(client)

    events = await listen(triton.url, feed)
    kinds = [event["type"] for event in events if event["type"] != "partial"]
    assert kinds[:5] == ["opened", "speech_started", "speech_stopped", "final", "flushed"]
    assert "reset" in kinds
    finals = of(events, "final")
    assert finals[0]["language"] == "English"
    assert finals[-1]["language"] == "Chinese"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"volume": 11}, "unknown parameter 'volume'"),
        ({"threshold": 7}, "threshold must lie between"),
        ({"command": "sing"}, "command must be one of flush, reset"),
    ],
)
async def test_mistakes_are_refused_at_once_and_the_session_goes_on(triton, english, parameters, message):
    """A refusal is the answer of that request alone; tritonclient raises it and closes its stream."""
    async with LiveClient(triton.url) as client:
        client.send(None)
        client.send(None, **parameters)
        with pytest.raises(InferenceServerException, match=rf"INVALID_ARGUMENT: .*{message}"):
            await asyncio.wait_for(collected(client), 10)


async def test_an_unknown_language_is_an_error_event(triton):
    async with LiveClient(triton.url) as client:
        client.send(None, language="Klingon")
        events = await asyncio.wait_for(collected(client), 10)
    assert [event["type"] for event in events] == ["opened", "error", "closed"]
    assert "unknown language 'Klingon'" in events[1]["message"]


async def test_a_chunk_without_a_session_is_refused(triton, english):
    async with LiveClient(triton.url) as client:
        client._started = True
        client.send(english[:1_600])
        with pytest.raises(InferenceServerException, match="must specify the START flag"):
            await asyncio.wait_for(collected(client), 10)


async def test_bad_samples_are_refused(triton):
    for pcm in (np.full(100, np.nan, dtype=np.float32), np.zeros(61 * 16_000, dtype=np.float32)):
        async with LiveClient(triton.url) as client:
            client.send(pcm)
            with pytest.raises(InferenceServerException, match=r"NaN or infinity|are the most"):
                await asyncio.wait_for(collected(client), 10)


@pytest.fixture(scope="module")
async def small(settings, tmp_path_factory):
    """A server with few sessions, short patience, and a KV cache that holds little: the two-size profile."""
    changes = {"asr_stream": {"max_sessions": "4", "idle_s": "1.0"}, "decoder": {"kv_cache_mb": "4"}}
    repository = linked_repository(tmp_path_factory.mktemp("repository"), changes)
    server = EmbeddedTriton(settings.model_copy(update={"model_repository": repository}))
    await server.start()
    yield server
    stop_later(server)


async def test_sessions_beyond_the_limit_are_refused_and_places_come_back(small, english):
    clients = [LiveClient(small.url) for _ in range(5)]
    for client in clients[:4]:
        client.send(english[:16_000])
    listening = [asyncio.create_task(collected(client)) for client in clients[:4]]
    await asyncio.sleep(0.3)
    clients[4].send(english[:16_000])
    with pytest.raises(InferenceServerException, match="holds 4 live sessions"):
        await asyncio.wait_for(collected(clients[4]), 10)
    # Nobody sends anything more: all are finished and closed by their own idle timeout.
    told = await asyncio.wait_for(asyncio.gather(*listening), 20)
    assert all(events[-1]["reason"] == "idle" and of(events, "final") for events in told)
    assert of(await listen(small.url, fed(english)), "final")
    for client in clients:
        await client.__aexit__()


async def test_vanished_clients_leave_nothing_behind(small, english):
    """More of them than there are places, each gone in the middle of a word."""
    for _ in range(3):
        tasks = []
        for _ in range(4):
            client = LiveClient(small.url)
            client.send(english[:30_000])
            tasks.append(asyncio.create_task(collected(client)))
        await asyncio.sleep(0.2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.7)
    events = await listen(small.url, fed(english))
    assert of(events, "final")[0]["text"] == "four two seven nine zero one five"


async def test_streams_that_evict_each_other_stay_exact(small, english):
    """Four streams of several blocks in a KV cache that holds about two: blocks are sent again, texts are the same."""
    client = TritonClient(small.url)
    pcm = np.tile(english, 5)
    told = await asyncio.gather(
        *(listen(small.url, fed(pcm, 8_000, 0.08), vad="off", debug=True, partial_interval_ms=900) for _ in range(4))
    )
    for events in told[:2]:
        assert len(await check_exact(client, pcm, events)) > 5
    assert len({of(events, "final")[0]["text"] for events in told}) == 1
    await client.close()


async def test_a_decoder_that_is_loaded_again_costs_no_word(small, english):
    """The decoder goes away in mid-stream and comes back: the session tries again and loses nothing."""

    async def feed(client):
        await fed(english[:30_000], pause_s=0.02)(client)
        secret = {GRPC_HEADER: small.control_key}
        async with triton_client.InferenceServerClient(small.url) as server:
            await server.unload_model("decoder", headers=secret)
            loading = asyncio.create_task(server.load_model("decoder", headers=secret))
            await fed(english[30_000:], pause_s=0.02)(client)
            await loading

    events = await listen(small.url, feed)
    assert [event["text"] for event in of(events, "final")] == ["four two seven nine zero one five"]
    assert not of(events, "error")


async def test_two_sizes_speak_by_the_small_one_and_end_by_the_accurate_one(settings, english, chinese):
    server = EmbeddedTriton(
        settings.model_copy(update={"model_config_name": "two_sizes"}),
        models=("asr", "asr_fast", "asr_step", "asr_step_fast", "asr_stream"),
    )
    await server.start()
    client = TritonClient(server.url)
    try:
        pcm = np.concatenate([english, chinese])
        events = await listen(server.url, fed(pcm), debug=True)
        for kind, model, speaker in (("partial", "asr_fast", "fast"), ("final", "asr", "accurate")):
            assert of(events, kind)
            for event in of(events, kind):
                assert event["checkpoint"] == speaker
                part = pcm[event["start_sample"] : event["end_sample"]]
                assert event["text"] == await text(client, part, model=model, parameters={"vad": "off"})
        assert all(event["meta"]["decoder"]["draft"]["accepted"] > 5 for event in of(events, "final"))
    finally:
        await client.close()
        await server.stop()


async def test_a_client_that_does_not_read_blocks_nobody(triton, english):
    async with LiveClient(triton.url) as slow:
        slow.send(None, partial_interval_ms=100, debug=True)
        for start in range(0, 20 * english.size, 1_600):
            place = start % english.size
            slow.send(english[place : place + 1_600])
        reading = slow.events()
        assert (await anext(reading))["type"] == "opened"
        # Nothing is read any more, while its session has thousands of events to say.
        events = await listen(triton.url, fed(english))
        assert [event["text"] for event in of(events, "final")] == ["four two seven nine zero one five"]


async def test_no_speech_says_nothing(triton):
    rng = np.random.default_rng(0)
    quiet = (0.0005 * rng.standard_normal(10 * 16_000)).astype(np.float32)
    events = await listen(triton.url, fed(quiet))
    assert [event["type"] for event in events] == ["opened", "closed"]


async def test_requests_that_do_not_hold_end_when_they_are_heard(triton, client, english):
    """As perf_analyzer asks: each request after the end of the one before."""
    expected = await listen(triton.url, fed(english))
    said = []

    async def ask(pcm, **options):
        inputs = [triton_client.InferInput("PCM", [pcm.size], "FP32")]
        inputs[0].set_data_from_numpy(pcm)

        async def one():
            yield {"model_name": "asr_stream", "inputs": inputs, "sequence_id": 77_001, **options}

        async with triton_client.InferenceServerClient(triton.url) as asking:
            async for result, error in asking.stream_infer(one()):
                assert error is None
                event = result.as_numpy("EVENT")
                if event is not None and event.size:
                    said.append(json.loads(event[0]))

    parts = [english[start : start + 8_000] for start in range(0, english.size, 8_000)]
    for number, part in enumerate(parts):
        options = {"sequence_start": number == 0, "sequence_end": number == len(parts) - 1}
        await asyncio.wait_for(ask(part, parameters={"hold": False}, **options), 20)
    assert said[-1]["type"] == "closed"
    assert of(said, "partial"), "steps are part of being heard"
    assert of(said, "final")[0]["text"] == of(expected, "final")[0]["text"]


# The calls that need no secret: what is there, is it ready, and sound.
FOR_EVERYBODY = {
    *("ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"),
    *("ModelInfer", "ModelStreamInfer"),
}


async def test_who_only_sends_sound_cannot_control_the_server(small):
    """Every other call of Triton's service is refused, also those that nobody here makes."""
    calls = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods
    control = [call for call in calls if call.name not in FOR_EVERYBODY]
    assert {"RepositoryModelLoad", "CudaSharedMemoryRegister", "TraceSetting", "LogSettings"} <= {
        c.name for c in control
    }
    async with grpc.aio.insecure_channel(small.url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for headers in ((), ((GRPC_HEADER, "guessed"),), ((GRPC_HEADER, ""),), (("asr-control", small.control_key),)):
            for call in control:
                request = getattr(service_pb2, call.input_type.name)()
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await getattr(stub, call.name)(request, metadata=headers, timeout=10)
                assert "restricted" in refused.value.details(), call.name
        index = service_pb2.RepositoryIndexRequest()
        assert await stub.RepositoryIndex(index, metadata=((GRPC_HEADER, small.control_key),), timeout=10)
