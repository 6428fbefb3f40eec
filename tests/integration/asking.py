"""Short ways to ask Triton's models."""

from __future__ import annotations

import asyncio

import anyio
import numpy as np
import tritonclient.grpc.aio as triton
from tritonclient.utils import np_to_triton_dtype

TIMEOUT_S = 60


async def answer(client, pcm, **options):
    """All deltas of a clip and the result of the last."""
    deltas = [delta async for delta in client.transcribe(pcm, timeout_s=TIMEOUT_S, **options)]
    return deltas, deltas[-1].result


async def text(client, pcm, **options):
    return (await answer(client, pcm, **options))[1]["text"]


async def infer(url, model, parameters=None, **inputs):
    """Ask a model that answers once; returns its outputs by name."""
    async with triton.InferenceServerClient(url) as client:
        result = await client.infer(
            model,
            [tensor(n, v) for n, v in inputs.items()],
            parameters=parameters,
            client_timeout=TIMEOUT_S,
        )
        return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}


async def stream(url, model, parameters=None, request_id="", on_response=None, outputs=(), **inputs):
    """Ask a decoupled model; returns outputs by name of every response until FINAL. Raises what Triton answers.

    outputs: names of those that are asked for; none: all.
    """

    async def requests():
        yield {
            "model_name": model,
            "inputs": [tensor(n, v) for n, v in inputs.items()],
            "outputs": [triton.InferRequestedOutput(name) for name in outputs] or None,
            "parameters": parameters,
            "request_id": request_id,
        }
        await asyncio.Event().wait()

    responses = []
    with anyio.fail_after(TIMEOUT_S):
        async with triton.InferenceServerClient(url) as client:
            async for result, error in client.stream_infer(requests()):
                if error is not None:
                    raise error
                responses.append({o.name: result.as_numpy(o.name) for o in result.get_response().outputs})
                if on_response is not None:
                    on_response(responses[-1])
                if responses[-1]["FINAL"][0]:
                    break
    return responses


def tensor(name, value):
    made = triton.InferInput(name, list(value.shape), np_to_triton_dtype(value.dtype))
    made.set_data_from_numpy(value)
    return made


def strings(*values):
    return np.array([v if isinstance(v, bytes) else v.encode() for v in values], dtype=np.object_)
