"""Requests to this room's own server over one gRPC stream that stays open: a call for each would cost more than most of
what is asked."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Any

import grpc
from tritonclient.grpc import service_pb2_grpc

from .rooms import RoomFailed

logger = logging.getLogger(__name__)

# At the beginning of an answer's error, where the request is at fault.
INVALID = "INVALID_ARGUMENT: "

# A request, and where its answer goes, None where nobody waits for it.
Asked = tuple[Any, "asyncio.Future[Any] | None"]


class NoAnswer(RoomFailed):
    """There was none in time, or will be none because the processes of these models are gone."""

    def __init__(self, message: str, lost: Collection[str] = ()) -> None:
        super().__init__(message)
        self.lost = lost


@dataclass(frozen=True)
class _Waiting:
    """Whom the answer of a model is for, and when it was asked, as time.monotonic has it."""

    answered: asyncio.Future[Any]
    model: str
    asked: float


class Wire:
    """Requests of decoupled models that answer once; made and used on one event loop."""

    def __init__(self, channel: Any, name: str) -> None:
        """name: unique among all who ask this server, for the ids of requests."""
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        self._name = name
        self._numbers = itertools.count(1)
        self._waiting: dict[str, _Waiting] = {}
        self._requests: asyncio.Queue[Asked] | None = None
        self._reader: asyncio.Task[None] | None = None

    async def ask(self, request: Any, timeout_s: float) -> Any:
        """The answer (ModelInferResponse) to a ModelInferRequest, whose id is set here.

        Raises RoomFailed where it is an error, or there is none in time. Who leaves early should tell the model.
        """
        answered = asyncio.get_running_loop().create_future()
        self._send(request, answered)
        try:
            return await asyncio.wait_for(answered, timeout_s)
        except asyncio.TimeoutError:
            raise NoAnswer(f"{request.model_name} did not answer within {timeout_s:g} s") from None
        finally:
            self._waiting.pop(request.id, None)

    def tell(self, request: Any) -> None:
        """Send a request whose answer nobody waits for."""
        self._send(request, None)

    def asked(self) -> set[str]:
        """The models whose answers are waited for."""
        return {one.model for one in self._waiting.values()}

    def give_up(self, model: str, before: float, lost: Collection[str]) -> None:
        """What this model was asked before then it does not answer any more, because the processes of some models in it
        are gone: NoAnswer for all who wait."""
        why = f"{model}: the process of {', '.join(sorted(lost))} is gone"
        for one in self._waiting.values():
            if one.model == model and one.asked < before and not one.answered.done():
                one.answered.set_exception(NoAnswer(why, lost))

    async def close(self) -> None:
        """Fail what waits, and end the stream."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader], timeout=1.0)

    def _send(self, request: Any, answered: asyncio.Future[Any] | None) -> None:
        request.id = f"{self._name}-{next(self._numbers)}"
        if self._requests is None:
            self._requests = asyncio.Queue()
            self._reader = asyncio.get_running_loop().create_task(self._read(self._requests))
        if answered is not None:
            self._waiting[request.id] = _Waiting(answered, request.model_name, time.monotonic())
        self._requests.put_nowait((request, answered))

    async def _read(self, requests: asyncio.Queue[Asked]) -> None:
        """Hand answers to those who wait, until the stream breaks."""
        broken = "the stream to the server ended"
        call = self._stub.ModelStreamInfer(_each(requests))
        try:
            async for answer in call:
                self._answer(answer)
        except grpc.aio.AioRpcError as error:
            broken = error.details() or error.code().name
        finally:
            call.cancel()
            # Whoever asks next begins another one.
            self._requests = None
            waiting, self._waiting = self._waiting, {}
            for one in waiting.values():
                if not one.answered.done():
                    one.answered.set_exception(RoomFailed(broken))

    def _answer(self, answer: Any) -> None:
        waiting = self._waiting.get(answer.infer_response.id)
        if waiting is None or waiting.answered.done():
            return
        if answer.error_message:
            waiting.answered.set_exception(failed(answer.infer_response.model_name, answer.error_message))
        else:
            waiting.answered.set_result(answer.infer_response)


async def _each(requests: asyncio.Queue[Asked]) -> AsyncIterator[Any]:
    while True:
        request, answered = await requests.get()
        # A server that took nothing for a while is not given what nobody waits for any more.
        if answered is None or not answered.done():
            yield request


def failed(model: str, message: str) -> RoomFailed:
    """What an error of a model means to a session."""
    _, invalid, rest = message.partition(INVALID)
    said = rest if invalid else message
    return RoomFailed(f"{model}: {said}" if model else said, invalid=bool(invalid))
