"""Triton by gRPC: one clip in, a stream of text out."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any

import anyio
import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from frontend.observe import tracing
from frontend.triton.balancer import FILE, LIVE, Standing
from frontend.triton.errors import TritonRefused, TritonUnavailable, details, refused
from frontend.triton.messages import Delta, add_input, bytes_element, delta_of, outputs_of, set_parameter
from frontend.triton.renewals import Renewals, Unanswered
from frontend.triton.server_calls import ServerCalls

# A clip of 512 s is 33 MB; gRPC's own limit is 4.
CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    # By default a server that was away for minutes is tried again after minutes, and a trial may take 20 s.
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]
CLOSE_GRACE_S = 2.0
# Of a client's name for its request.
MAX_NAME = 100
# What is behind a clip's samples takes as long as so much sound.
SETUP_S = 1.0
SAMPLE_RATE_HZ = 16_000
# Calls that ended so are to be tried again.
GONE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


class TritonClient(ServerCalls):
    """A connection to one Triton, for any number of concurrent requests."""

    def __init__(
        self,
        url: str,
        control_key: Callable[[], str] = str,
        credentials: grpc.ChannelCredentials | None = None,
        name: str = "",
    ) -> None:
        """control_key: gives the secret of Triton's control services, "" where they ask for none. credentials:
        TLS's; None: plaintext. name: that a certificate is to have in place of the address."""
        self.url = url
        options = [*CHANNEL_OPTIONS, *([("grpc.ssl_target_name_override", name)] if name and credentials else [])]
        self._channel = (
            grpc.aio.secure_channel(url, credentials, options=options)
            if credentials is not None
            else grpc.aio.insecure_channel(url, options=options)
        )
        super().__init__(self._channel, control_key)
        self._ending: set[asyncio.Task[None]] = set()
        # When each model last answered a request that had to compute, and whom to tell that one failed.
        self.answered: dict[str, float] = {}
        self.renewals = Renewals()
        self.on_failure: Callable[[str], None] = lambda _: None
        # What is under way there and how it went, and whether another server has room for a kind of work.
        self.standing = Standing(url)
        self.has_room_beside: Callable[[str], bool] = lambda _: False

    def note(self, model: str) -> None:
        """A model has answered."""
        self.answered[model] = time.monotonic()

    async def close(self) -> None:
        """Calls under way may still fail by themselves, as they do where the server has died: a closed channel would
        cancel them, which nobody could tell from their own cancellation."""
        await asyncio.gather(*self._ending, return_exceptions=True)
        await self._channel.close(grace=CLOSE_GRACE_S)

    async def vad(self, pcm: NDArray[np.float32], state: NDArray[np.float32]) -> Any:
        """Speech probabilities of the next samples of a stream, one per 512, and the new state."""
        request = service_pb2.ModelInferRequest(model_name="vad")
        for name, value in (("PCM", pcm), ("STATE", state)):
            add_input(request, name, "FP32", [value.size], np.ascontiguousarray(value, dtype="<f4").tobytes())
        raw = await self.outputs(request, 20.0)
        return np.frombuffer(raw["SPEECH_PROB"], dtype="<f4"), np.frombuffer(raw["STATE"], dtype="<f4")

    async def outputs(self, request: Any, timeout_s: float) -> dict[str, bytes]:
        """The tensors of a request's one answer, by name. Raises TritonRefused or TritonUnavailable."""
        self.standing.begin(FILE)
        try:
            call = self._stub.ModelInfer(request, timeout=timeout_s, metadata=tracing.metadata())
            answer = outputs_of(await self.renewals.answer(call, time.monotonic()))
            self.standing.answered(FILE, None, time.monotonic())
            return answer
        except Unanswered as error:
            raise TritonUnavailable(str(error)) from error
        except grpc.aio.AioRpcError as error:
            raise self._failed(error) from error
        except grpc.aio.UsageError as error:
            # The channel was closed between two calls.
            raise TritonUnavailable(str(error)) from error
        finally:
            self.standing.end(FILE)

    async def cancel(self, request_id: str) -> None:
        """Drop a request inside of the decoder, which an ensemble does not tell that its client has left."""
        request = service_pb2.ModelInferRequest(model_name="decoder")
        add_input(request, "EMBEDDINGS", "FP32", [1, 0, 1], b"")
        add_input(request, "FRAMES", "INT32", [1, 1], bytes(4))
        for name, value in (("priority_level", 1), ("cancel", request_id)):
            set_parameter(request, name, value)
        answered = asyncio.Event()
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for _ in self._stub.ModelStreamInfer(_once(request, answered), timeout=5.0):
                answered.set()

    async def transcribe(
        self,
        pcm: NDArray[np.float32],
        *,
        language: str | None = None,
        context: str | None = None,
        priority: int = 2,
        request_id: str = "",
        parameters: dict[str, str | int | float | bool] | None = None,
        model: str = "asr",
        timeout_s: float = 600.0,
    ) -> AsyncGenerator[Delta, None]:
        """Stream the text of a clip.

        pcm: float32 [samples], 16 kHz mono; request_id: a name for logs, which others may use as well. Leaving the
        iterator early cancels the request.
        Raises TritonRefused or TritonUnavailable.
        """
        # A name of its own: what is cancelled by it is nobody else's, and no later attempt of the same request.
        request_id = f"{request_id[:MAX_NAME]}.{secrets.token_hex(8)}"
        request = service_pb2.ModelInferRequest(model_name=model, id=request_id)
        add_input(request, "PCM", "FP32", [pcm.size], np.ascontiguousarray(pcm, dtype="<f4").tobytes())
        if language:
            add_input(request, "LANGUAGE", "BYTES", [1], bytes_element(language))
        if context:
            add_input(request, "CONTEXT", "BYTES", [1], bytes_element(context))
        for name, value in {"priority_level": priority, **(parameters or {})}.items():
            set_parameter(request, name, value)
        answered = asyncio.Event()
        try:
            call = self._stub.ModelStreamInfer(_once(request, answered), timeout=timeout_s, metadata=tracing.metadata())
        except grpc.aio.UsageError as error:
            # The channel was closed between two calls.
            raise TritonUnavailable(str(error)) from error
        sent = time.monotonic()
        self.standing.begin(FILE)
        try:
            while (answer := await self.renewals.answer(call.read(), sent)) is not grpc.aio.EOF:
                if answer.error_message:
                    raise self.refusal(answer.error_message, FILE)
                delta = delta_of(answer.infer_response)
                if delta.result is not None:
                    now = time.monotonic()
                    self.standing.answered(FILE, (now - sent) / (SETUP_S + pcm.size / SAMPLE_RATE_HZ), now)
                yield delta
                if delta.result is not None:
                    self.note(model)
                    answered.set()
                    return
            raise TritonUnavailable("Triton ended the stream without a final answer")
        except Unanswered as error:
            raise TritonUnavailable(str(error)) from error
        except grpc.aio.AioRpcError as error:
            self.standing.failed(time.monotonic())
            raise TritonUnavailable(details(error)) from error
        finally:
            self.standing.end(FILE)
            if answered.is_set():
                self._in_background(_ended(call))
            else:
                call.cancel()
                self._in_background(self.cancel(request_id))

    def live_stream(self, requests: AsyncIterator[Any]) -> Any:
        """A gRPC stream of requests and answers, as long as a live session lasts."""
        try:
            call = self._stub.ModelStreamInfer(requests, metadata=tracing.metadata())
        except grpc.aio.UsageError as error:
            # The channel was closed before the session began.
            raise TritonUnavailable(str(error)) from error
        self.standing.begin(LIVE)
        call.add_done_callback(lambda _: self.standing.end(LIVE))
        return call

    def refusal(self, message: str, kind: str) -> TritonRefused | TritonUnavailable:
        """What an error message of a stream means, which is noted. Who finds no place here, and would elsewhere, is to
        ask there. kind: of the work."""
        error, now = refused(message), time.monotonic()
        if isinstance(error, TritonUnavailable):
            self.standing.failed(now)
            self.on_failure(message)
        elif error.busy:
            self.standing.full(kind, now)
            return TritonUnavailable(message) if self.has_room_beside(kind) else error
        elif not error.invalid:
            self.standing.failed(now)
        return error

    def _failed(self, error: grpc.aio.AioRpcError) -> TritonRefused | TritonUnavailable:
        """The same of a call with one answer."""
        if error.code() in GONE:
            self.standing.failed(time.monotonic())
            return TritonUnavailable(details(error))
        return self.refusal(error.details() or "", FILE)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


async def _ended(call: Any) -> None:
    """Let an answered stream end by itself: its cancellation would be an error in Triton's log."""
    try:
        with anyio.fail_after(5.0):
            await call.code()
    except TimeoutError:
        call.cancel()


async def _once(request: Any, answered: asyncio.Event) -> AsyncIterator[Any]:
    """The one request of a stream, which stays open for the answers."""
    yield request
    await answered.wait()
