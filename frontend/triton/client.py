"""Triton by gRPC: one clip in, a stream of text out."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any

import anyio
import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc

from frontend.observe import tracing
from frontend.triton import control
from frontend.triton.messages import Delta, add_input, bytes_element, delta_of, outputs_of, set_parameter
from frontend.triton.renewals import Renewals, Unanswered

# A clip of 512 s is 33 MB; gRPC's own limit is 4.
CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
]
# An answer of a stream has a message but no code, so the models put the code in front of it. (Triton's header
# triton_grpc_error gives a true status, and crashed version 2.51 now and then.)
INVALID = "INVALID_ARGUMENT: "
CLOSE_GRACE_S = 2.0
# Of a client's name for its request.
MAX_NAME = 100
# What a full server says: the decoder and `asr_stream` of their places, Triton of queues that a profile may bound.
BUSY = ("try again later", "maximum queue size", "timeout expired")
# What is said of a model whose process is dead, or which is being loaded again: it will be back.
LOST = ("is not healthy", "unknown model", "is not ready", "no available versions", "Stub process", "not found")
# What it says of its control services where the secret is not theirs.
RESTRICTED = "This protocol is restricted"
# What Triton says of a sequence that it does not know: the model was loaded again, or nothing came for a minute. Where
# only `asr_stream` does not know it, that says so with a code of its own.
FORGOTTEN = ("must specify the START flag",)


class TritonRefused(Exception):
    """Triton answered with an error. `invalid` when the request was at fault, `busy` when its queue is full."""

    def __init__(self, message: str, *, invalid: bool = False, busy: bool = False) -> None:
        super().__init__(message)
        self.invalid = invalid
        self.busy = busy


class TritonUnavailable(Exception):
    """Triton cannot be reached, or did not answer in time."""


class ControlRefused(TritonUnavailable):
    """Triton's control services want another secret than ours, or ours cannot be read."""


class TritonClient:
    """A connection to one Triton, for any number of concurrent requests."""

    def __init__(
        self, url: str, control_key: Callable[[], str] = str, credentials: grpc.ChannelCredentials | None = None
    ) -> None:
        """control_key: gives the secret of Triton's control services, "" where they ask for none. credentials:
        TLS's; None: plaintext."""
        self.url = url
        self._control_key = control_key
        self._channel = (
            grpc.aio.secure_channel(url, credentials, options=CHANNEL_OPTIONS)
            if credentials is not None
            else grpc.aio.insecure_channel(url, options=CHANNEL_OPTIONS)
        )
        self._ending: set[asyncio.Task[None]] = set()
        # When each model last answered a request that had to compute, and whom to tell that one failed.
        self.answered: dict[str, float] = {}
        self.renewals = Renewals()
        self.on_failure: Callable[[str], None] = lambda _: None
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    @property
    def stub(self) -> Any:
        """The calls of Triton's gRPC service."""
        return self._stub

    def note(self, model: str) -> None:
        """A model has answered."""
        self.answered[model] = time.monotonic()

    async def close(self) -> None:
        """Calls under way may still fail by themselves, as they do where the server has died: a closed channel would
        cancel them, which nobody could tell from their own cancellation."""
        await asyncio.gather(*self._ending, return_exceptions=True)
        await self._channel.close(grace=CLOSE_GRACE_S)

    async def server_metadata(self, timeout_s: float = 2.0) -> dict[str, str]:
        """Name and version of the server; TritonUnavailable where there is none."""
        try:
            answer = await self._stub.ServerMetadata(service_pb2.ServerMetadataRequest(), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise TritonUnavailable(_details(error)) from error
        return {"name": answer.name, "version": answer.version}

    async def is_ready(self, model: str, timeout_s: float = 2.0) -> bool:
        """Whether the server is there and this model, with all it is made of, can answer."""
        try:
            answer = await self._stub.ModelReady(service_pb2.ModelReadyRequest(name=model), timeout=timeout_s)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.ready)

    async def repository(self, timeout_s: float = 2.0) -> dict[str, str]:
        """State of every model in the repository, by name. Raises ControlRefused or TritonUnavailable."""
        try:
            request = service_pb2.RepositoryIndexRequest()
            answer = await self._stub.RepositoryIndex(request, timeout=timeout_s, metadata=self._control())
        except grpc.aio.AioRpcError as error:
            raise _unavailable(error) from error
        return {model.name: model.state or "UNLOADED" for model in answer.models}

    async def load(self, model: str, timeout_s: float) -> None:
        """Load a model, and what it is made of. Raises TritonRefused or TritonUnavailable."""
        request = service_pb2.RepositoryModelLoadRequest(model_name=model)
        await self._managed(self._stub.RepositoryModelLoad(request, timeout=timeout_s, metadata=self._control()))

    async def unload(self, model: str, timeout_s: float = 60.0, *, alone: bool = False) -> None:
        """Unload a model, and what it is made of, or that one alone."""
        request = service_pb2.RepositoryModelUnloadRequest(model_name=model)
        request.parameters["unload_dependents"].bool_param = not alone
        await self._managed(self._stub.RepositoryModelUnload(request, timeout=timeout_s, metadata=self._control()))

    async def counts(self, model: str, timeout_s: float = 2.0) -> tuple[int, int] | None:
        """How often a model has computed, and how many requests have failed in it; None where that is not told."""
        try:
            request = service_pb2.ModelStatisticsRequest(name=model)
            answer = await self._stub.ModelStatistics(request, timeout=timeout_s)
        except grpc.aio.AioRpcError:
            return None
        told = answer.model_stats
        return sum(int(one.execution_count) for one in told), sum(int(one.inference_stats.fail.count) for one in told)

    async def config(self, model: str, timeout_s: float = 2.0) -> Any:
        """A loaded model's configuration with all that Triton filled in. Raises TritonRefused or TritonUnavailable."""
        request = service_pb2.ModelConfigRequest(name=model)
        return (await self._managed(self._stub.ModelConfig(request, timeout=timeout_s))).config

    async def _managed(self, call: Any) -> Any:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise _unavailable(error) from error
            raise refused(error.details() or "") from error

    async def vad(self, pcm: NDArray[np.float32], state: NDArray[np.float32]) -> Any:
        """Speech probabilities of the next samples of a stream, one per 512, and the new state."""
        request = service_pb2.ModelInferRequest(model_name="vad")
        for name, value in (("PCM", pcm), ("STATE", state)):
            add_input(request, name, "FP32", [value.size], np.ascontiguousarray(value, dtype="<f4").tobytes())
        try:
            call = self._stub.ModelInfer(request, timeout=20.0, metadata=tracing.metadata())
            response = await self.renewals.answer(call, time.monotonic())
        except Unanswered as error:
            raise TritonUnavailable(str(error)) from error
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise TritonUnavailable(_details(error)) from error
            raise refused(error.details() or "") from error
        except grpc.aio.UsageError as error:
            raise TritonUnavailable(str(error)) from error
        raw = outputs_of(response)
        return np.frombuffer(raw["SPEECH_PROB"], dtype="<f4"), np.frombuffer(raw["STATE"], dtype="<f4")

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
        try:
            while (answer := await self.renewals.answer(call.read(), sent)) is not grpc.aio.EOF:
                if answer.error_message:
                    refusal = refused(answer.error_message)
                    if isinstance(refusal, TritonUnavailable):
                        self.on_failure(answer.error_message)
                    raise refusal
                delta = delta_of(answer.infer_response)
                yield delta
                if delta.result is not None:
                    self.note(model)
                    answered.set()
                    return
            raise TritonUnavailable("Triton ended the stream without a final answer")
        except Unanswered as error:
            raise TritonUnavailable(str(error)) from error
        except grpc.aio.AioRpcError as error:
            raise TritonUnavailable(_details(error)) from error
        finally:
            if answered.is_set():
                self._in_background(_ended(call))
            else:
                call.cancel()
                self._in_background(self.cancel(request_id))

    def _control(self) -> tuple[tuple[str, str], ...] | None:
        try:
            key = self._control_key()
        except control.NoControlKey as error:
            # Triton answers all the same: only its control is out of reach.
            raise ControlRefused(str(error)) from error
        return ((control.GRPC_HEADER, key),) if key else None

    def live_stream(self, requests: AsyncIterator[Any]) -> Any:
        """A gRPC stream of requests and answers, as long as a live session lasts."""
        return self._stub.ModelStreamInfer(requests, metadata=tracing.metadata())

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


def refused(message: str) -> TritonRefused | TritonUnavailable:
    """What an error message of Triton or a model means: TritonUnavailable where the model itself is lost."""
    # An ensemble names itself in front of its step's message.
    message = re.sub(r"^in ensemble '[^']*', ", "", message)
    if message.startswith(INVALID):
        return TritonRefused(message.removeprefix(INVALID), invalid=True)
    if any(sign in message for sign in BUSY):
        return TritonRefused(message, busy=True)
    return TritonUnavailable(message) if any(sign in message for sign in LOST + FORGOTTEN) else TritonRefused(message)


def _unavailable(error: grpc.aio.AioRpcError) -> TritonUnavailable:
    return (ControlRefused if RESTRICTED in (error.details() or "") else TritonUnavailable)(_details(error))


def _details(error: grpc.aio.AioRpcError) -> str:
    return f"{error.code().name.lower()}: {error.details()}"
