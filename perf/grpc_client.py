"""The smallest useful gRPC client: stream the text of a clip from the model `asr` with NVIDIA's own tritonclient.

python -m perf.grpc_client ADDRESS FILE
"""

from __future__ import annotations

import json
import queue
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException


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
        try:
            client.async_stream_infer("asr", inputs)
        except InferenceServerException:
            # A stream that could not begin has told why already.
            raise answers.get(timeout=timeout_s) from None
        while True:
            answer = answers.get(timeout=timeout_s)
            if isinstance(answer, Exception):
                raise answer
            text = answer.as_numpy("TEXT")[0].decode()
            if answer.as_numpy("FINAL")[0]:
                yield text, json.loads(answer.as_numpy("RESULT")[0])
                return
            yield text, None


def explained(url: str, message: str | None) -> str:
    """What gRPC or Triton says of an error, in one line; of a server that is not there, how to have one."""
    message = " ".join((message or "an error without a message").split())
    if "failed to connect" in message.lower() or "errors resolving" in message.lower():
        return (
            f"no server answers at {url}: start one with `make serve`, which tells its gRPC address when it is ready "
            "(so does its /health)"
        )
    return f"{url} answered: {message}"


def main(arguments: list[str]) -> int:
    """Print a recording's text as it comes."""
    if len(arguments) != 2:
        print("usage: python -m perf.grpc_client ADDRESS FILE", file=sys.stderr)
        return 2
    from frontend.audio.decoding import AudioError
    from perf.speech.clips import recording

    url, path = arguments
    try:
        for delta, result in transcribe(url, recording(path)):
            print(delta, end="\n" if result else "", flush=True)
    except InferenceServerException as error:
        print(f"error: {explained(url, error.message())}", file=sys.stderr)
        return 1
    except (OSError, AudioError) as error:
        print(f"error: {path}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
