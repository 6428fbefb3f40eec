"""When each word of a clip was said: the ensemble `align`."""

from __future__ import annotations

import secrets
import time

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from frontend.audio.words import Word
from frontend.observe import tracing
from frontend.triton.client import MAX_NAME, TritonClient, TritonUnavailable, refused
from frontend.triton.messages import add_input, bytes_element, elements, outputs_of, set_parameter
from frontend.triton.profiles import ALIGN
from frontend.triton.renewals import Unanswered

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
    try:
        call = client.stub.ModelInfer(request, timeout=timeout_s, metadata=tracing.metadata())
        response = await client.renewals.answer(call, time.monotonic())
    except Unanswered as error:
        raise TritonUnavailable(str(error)) from error
    except grpc.aio.AioRpcError as error:
        raise told_by(client, error) from error
    except grpc.aio.UsageError as error:
        # The channel was closed between two calls.
        raise TritonUnavailable(str(error)) from error
    raw = outputs_of(response)
    texts = [text.decode() for text in elements(raw["WRITTEN"])]
    spans = np.frombuffer(raw["SPANS"], dtype="<i4").reshape(-1, 2) / SAMPLE_RATE_HZ
    sure = np.frombuffer(raw["CONFIDENCE"], dtype="<f4")
    told = zip(texts, spans.tolist(), sure.tolist(), strict=True)
    return [Word.of(text, start, end, one) for text, (start, end), one in told]


def told_by(client: TritonClient, error: grpc.aio.AioRpcError) -> Exception:
    """What to raise where a call has failed."""
    details = f"{error.code().name.lower()}: {error.details()}"
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
        return TritonUnavailable(details)
    refusal = refused(error.details() or "")
    if isinstance(refusal, TritonUnavailable):
        client.on_failure(error.details() or "")
    return refusal
