"""Ten thousand requests of every kind to the real decoder: all answered, all equal, nothing left behind."""

import asyncio
import json
import random
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from frontend.triton.messages import add_input, outputs_of, set_parameter
from tests.integration.asking import infer, stream

COUNT, AT_A_TIME, BLOCKS = 10_000, 16, 4


def shared_memory_mb():
    return sum(path.stat().st_size for path in Path("/dev/shm").glob("qwen3_asr_*")) / 1e6


def metrics(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("asr_decoder")}


async def _once(request, answered):
    yield request
    await answered.wait()


@pytest.mark.slow
@pytest.mark.timeout(2400)
async def test_ten_thousand_requests(triton, english):
    pcm = np.tile(english, 8)[: BLOCKS * 128_000]
    features = await infer(triton.url, "features", PCM=pcm, SPEECH=np.array([[0, pcm.size]], dtype=np.int32))
    rows = (await infer(triton.url, "encoder", **features))["EMBEDDINGS"]
    frames = features["FRAMES"]
    channel = grpc.aio.insecure_channel(triton.url)
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    server = psutil.Process(triton.pid)
    rng = random.Random(0)

    async def ask(first, last, parameters, draft=(), leave_after=None):
        """Token ids and finish_reason; None where the client left after so many answers."""
        request = service_pb2.ModelInferRequest(model_name="decoder", id=str(parameters.get("id", "")))
        add_input(request, "EMBEDDINGS", "FP32", list(rows[first:last].shape), rows[first:last].tobytes())
        add_input(request, "FRAMES", "INT32", [last - first, 1], frames[first:last].tobytes())
        if draft:
            add_input(request, "DRAFT_IDS", "INT32", [len(draft)], np.array(draft, dtype="<i4").tobytes())
        for name, value in parameters.items():
            set_parameter(request, name, value)
        answered, ids = asyncio.Event(), []
        call = stub.ModelStreamInfer(_once(request, answered), timeout=60)
        try:
            count = 0
            async for answer in call:
                assert not answer.error_message, answer.error_message
                out = outputs_of(answer.infer_response)
                ids += np.frombuffer(out["TOKEN_IDS"], dtype="<i4").tolist()
                count += 1
                if out["FINAL"] != bytes(1):
                    answered.set()
                    result = json.loads(out["RESULT"][4:])
                elif leave_after is not None and count > leave_after:
                    return None
            return ids, result["finish_reason"]
        finally:
            if not answered.is_set():
                call.cancel()

    async def cancel(name):
        nothing = {"EMBEDDINGS": np.zeros((1, 0, 1), np.float32), "FRAMES": np.zeros((1, 1), np.int32)}
        await stream(triton.url, "decoder", {"cancel": name}, **nothing)

    plain = {last: (await ask(0, last, {}))[0] for last in range(1, BLOCKS + 1)}

    async def one(number):
        last = rng.randint(1, BLOCKS)
        parameters = {"priority_level": rng.choice([1, 2, 3]), "id": f"r{number}"}
        draft = plain[last][: rng.randrange(20)] + [rng.randrange(200)] * rng.randrange(2)
        first = 0
        if rng.random() < 0.3:
            # Two requests of a session: the second leaves out what the first sent.
            first = rng.randrange(last)
            parameters["session"] = f"s{number}"
            if first:
                await ask(0, first, {**parameters, "keep_blocks": first})
                parameters["cached_blocks"] = first
        leave = rng.choice([0, 1]) if rng.random() < 0.1 else None
        if rng.random() < 0.05:
            # By id, as it is needed through an ensemble; it may come before or after.
            await asyncio.gather(cancel(f"r{number}"), ask(first, last, parameters, draft))
            return
        answer = await ask(first, last, parameters, draft, leave)
        if answer is not None and answer[1] == "stop":
            assert answer[0] == plain[last]
        elif answer is not None:
            assert answer[1] in ("evicted", "cancelled")

    memory_mb = shm_mb = 0.0
    for start in range(0, COUNT, AT_A_TIME):
        await asyncio.gather(*(one(start + index) for index in range(AT_A_TIME)))
        if start // AT_A_TIME == COUNT // AT_A_TIME // 5:
            memory_mb = sum(child.memory_info().rss for child in server.children(recursive=True)) / 1e6
            shm_mb = shared_memory_mb()
    assert sum(child.memory_info().rss for child in server.children(recursive=True)) / 1e6 < memory_mb + 60
    assert shared_memory_mb() <= shm_mb + 1
    for _ in range(100):
        now = await asyncio.to_thread(metrics, triton.metrics_port)
        left = sum(value for name, value in now.items() if "running" in name or "waiting" in name)
        if not left:
            break
        await asyncio.sleep(0.2)
    assert not left
    await channel.close()
