"""When each word of a clip was said: the ensemble `align`."""

from __future__ import annotations

import secrets

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from frontend.audio.words import Word
from frontend.triton.client import MAX_NAME, TritonClient
from frontend.triton.messages import add_input, bytes_element, elements, set_parameter
from frontend.triton.profiles import ALIGN

SAMPLE_RATE_HZ = 16_000


async def aligned(
    client: TritonClient,
    pcm: NDArray[np.float32],
    text: str,
    *,
    language: str | None = None,
    whole: bool = False,
    priority: int = 2,
    request_id: str = "",
    timeout_s: float = 60.0,
) -> list[Word]:
    """The words of `text` with their times from the clip's beginning on.

    pcm: float32 [samples], 16 kHz mono; language: by name or code; whole: every sample is taken as
    speech. Raises TritonRefused or TritonUnavailable.
    """
    request = service_pb2.ModelInferRequest(model_name=ALIGN, id=f"{request_id[:MAX_NAME]}.{secrets.token_hex(8)}")
    add_input(request, "PCM", "FP32", [pcm.size], np.ascontiguousarray(pcm, dtype="<f4").tobytes())
    add_input(request, "TEXT", "BYTES", [1], bytes_element(text))
    if language:
        add_input(request, "LANGUAGE", "BYTES", [1], bytes_element(language))
    set_parameter(request, "priority_level", priority)
    if whole:
        set_parameter(request, "vad", "off")
    raw = await client.outputs(request, timeout_s)
    texts = [text.decode() for text in elements(raw["WRITTEN"])]
    spans = np.frombuffer(raw["SPANS"], dtype="<i4").reshape(-1, 2) / SAMPLE_RATE_HZ
    sure = np.frombuffer(raw["CONFIDENCE"], dtype="<f4")
    told = zip(texts, spans.tolist(), sure.tolist(), strict=True)
    return [Word.of(text, start, end, one) for text, (start, end), one in told]
