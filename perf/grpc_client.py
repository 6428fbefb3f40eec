"""The smallest useful gRPC client: stream the text of a clip from the model `asr` with NVIDIA's own tritonclient."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray


def transcribe(
    url: str, pcm: NDArray[np.float32], *, language: str = "", context: str = "", timeout_s: float = 120.0
) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Yield (text delta, None) as the text comes, and (last delta, result) at the end.

    pcm: float32 [samples], 16 kHz mono. Raises tritonclient.utils.InferenceServerException on errors.
    """
    inputs = [triton.InferInput("PCM", list(pcm.shape), "FP32")]
    inputs[0].set_data_from_numpy(pcm)
    for name, value in (("LANGUAGE", language), ("CONTEXT", context)):
        if value:
            inputs.append(triton.InferInput(name, [1], "BYTES"))
            inputs[-1].set_data_from_numpy(np.array([value.encode()], dtype=np.object_))
    answers: queue.Queue[Any] = queue.Queue()
    with triton.InferenceServerClient(url) as client:
        client.start_stream(lambda result, error: answers.put(error or result))
        client.async_stream_infer("asr", inputs)
        while True:
            answer = answers.get(timeout=timeout_s)
            if isinstance(answer, Exception):
                raise answer
            text = answer.as_numpy("TEXT")[0].decode()
            if answer.as_numpy("FINAL")[0]:
                yield text, json.loads(answer.as_numpy("RESULT")[0])
                return
            yield text, None
