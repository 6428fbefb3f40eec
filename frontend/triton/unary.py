"""A request with one answer, to a model that may be loaded again meanwhile."""

from __future__ import annotations

import time
from typing import Any

import grpc

from frontend.observe import tracing
from frontend.triton.client import TritonClient, TritonUnavailable, refused
from frontend.triton.messages import outputs_of
from frontend.triton.renewals import Unanswered


async def outputs(client: TritonClient, request: Any, timeout_s: float) -> dict[str, bytes]:
    """The answer's tensors by name. Raises TritonRefused or TritonUnavailable."""
    try:
        call = client.stub.ModelInfer(request, timeout=timeout_s, metadata=tracing.metadata())
        return outputs_of(await client.renewals.answer(call, time.monotonic()))
    except Unanswered as error:
        raise TritonUnavailable(str(error)) from error
    except grpc.aio.AioRpcError as error:
        raise _told(client, error) from error
    except grpc.aio.UsageError as error:
        # The channel was closed between two calls.
        raise TritonUnavailable(str(error)) from error


def _told(client: TritonClient, error: grpc.aio.AioRpcError) -> Exception:
    """What to raise where a call has failed."""
    details = f"{error.code().name.lower()}: {error.details()}"
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
        return TritonUnavailable(details)
    refusal = refused(error.details() or "")
    if isinstance(refusal, TritonUnavailable):
        client.on_failure(error.details() or "")
    return refusal
