"""A live session with the model `asr_stream`, over one gRPC stream."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
from tritonclient.grpc import service_pb2

from frontend.triton.balancer import LIVE
from frontend.triton.client import TritonClient, TritonRefused, TritonUnavailable
from frontend.triton.errors import details
from frontend.triton.messages import add_input, set_parameter

MODEL = "asr_stream"
# The code of the error that says so.
SESSION_UNKNOWN = "session_unknown"
# What Triton reads of a request's parameters: whose session it is.
RESERVED = ("sequence_id", "sequence_start", "sequence_end", "priority", "timeout")
# At the end of a request's id: that it is heard is to be told.
TELL_HEARD = "/heard"
# Before a request's number: who is told that it was refused knows which one.
NUMBER = "/number."


# What may wait for Triton to take it before `room` holds the client back: half a minute of sound.
MOST_QUEUED_BYTES = 2**20
# Of a request without its samples, about.
REQUEST_BYTES = 500


class LiveSession:
    """`send` never waits, `room` does; `events` ends with `closed`. Leave it by `close`, whatever happened."""

    def __init__(self, client: TritonClient, request_id: str, at_rest: Callable[[], bool] = lambda: True) -> None:
        """at_rest: whether nothing that it began is still to be told."""
        self._client = client
        self._requests: asyncio.Queue[Any] = asyncio.Queue()
        self._request_id = request_id
        # Triton takes any number but 0; this one is nobody else's.
        self._sequence = secrets.randbits(62) + 1
        self._started = False
        self._ended = False
        self._queued_bytes = 0
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._call = client.live_stream(self._requests_as_they_come())
        # Triton leaves an open request of a dead process unanswered, also when the next one is there.
        self._forgotten = client.renewals.of(MODEL, at_rest)

    def send(
        self,
        pcm16: bytes = b"",
        parameters: Mapping[str, Any] | None = None,
        *,
        end: bool = False,
        tell_heard: bool = False,
        number: int = 0,
    ) -> None:
        """Queue samples (int16 little-endian, 16 kHz mono), and settings or a command; nothing after the end.

        tell_heard: an event `heard` comes when this and all before it was heard, unless more is sent before.
        number: the request's, which the event `error` has where it is refused, beside what the schema says.
        """
        if self._ended:
            return
        name = self._request_id + (f"{NUMBER}{number}" if number else "") + (TELL_HEARD if tell_heard else "")
        request = service_pb2.ModelInferRequest(model_name=MODEL, id=name)
        if tell_heard:
            parameters = {**(parameters or {}), "hold": False, "triton_enable_empty_final_response": True}
        # Last, so that nobody's settings stand for them.
        reserved = {"sequence_id": self._sequence, "sequence_start": not self._started, "sequence_end": end}
        for name, value in {**(parameters or {}), **reserved}.items():
            set_parameter(request, name, value)
        if pcm16:
            add_input(request, "PCM16", "INT16", [len(pcm16) // 2], pcm16)
        self._started, self._ended = True, end
        self._queued_bytes += len(pcm16) + REQUEST_BYTES
        if self._queued_bytes > MOST_QUEUED_BYTES:
            self._has_room.clear()
        self._requests.put_nowait(request)

    @property
    def has_room(self) -> bool:
        """Whether `room` would return at once."""
        return self._has_room.is_set()

    async def room(self) -> None:
        """Return when Triton has taken enough of what was sent, or takes nothing more of this stream."""
        await self._has_room.wait()

    @property
    def ended(self) -> bool:
        """Whether the end was sent."""
        return self._ended

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """What the session says. A refused request is an event `error`; of the first one, a fatal one, and the last.

        Raises TritonUnavailable where Triton is lost.
        """
        spoken = False
        try:
            while (answer := await self._answer()) is not grpc.aio.EOF:
                if answer.error_message:
                    error = self._client.refusal(answer.error_message, LIVE)
                    if isinstance(error, TritonUnavailable):
                        raise error
                    event = {"type": "error", "code": _code(error), "message": str(error), "fatal": not spoken}
                    _, is_numbered, number = answer.infer_response.id.removesuffix(TELL_HEARD).rpartition(NUMBER)
                    yield {**event, "number": int(number)} if is_numbered else event
                    if not spoken:
                        return
                    continue
                if not answer.infer_response.raw_output_contents:
                    # The end of a request whose session speaks by a later one.
                    if answer.infer_response.id.endswith(TELL_HEARD):
                        yield {"type": "heard"}
                    continue
                event = json.loads(answer.infer_response.raw_output_contents[0][4:])
                if event.get("code") == SESSION_UNKNOWN:
                    raise TritonUnavailable(event["message"])
                spoken = True
                if event["type"] in ("partial", "final"):
                    self._client.note(MODEL)
                yield event
                if event["type"] == "closed":
                    self._requests.put_nowait(None)
                    return
            raise TritonUnavailable("Triton ended the live stream")
        except grpc.aio.AioRpcError as error:
            self._client.standing.failed(time.monotonic())
            raise TritonUnavailable(details(error)) from error

    async def close(self) -> None:
        """End the stream; what Triton still does for it is cancelled."""
        self._has_room.set()
        self._forgotten.cancel()
        self._requests.put_nowait(None)
        if not self._ended:
            self._call.cancel()
            return
        try:
            await asyncio.wait_for(self._call.code(), 2.0)
        except (asyncio.TimeoutError, asyncio.CancelledError):
            self._call.cancel()

    async def _answer(self) -> Any:
        """The next one of the stream, or grpc.aio.EOF. Raises TritonUnavailable where none can come any more."""
        reading = asyncio.ensure_future(self._call.read())
        try:
            await asyncio.wait((reading, self._forgotten), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                return reading.result()
            raise TritonUnavailable(self._forgotten.result())
        finally:
            reading.cancel()

    async def _requests_as_they_come(self) -> AsyncIterator[Any]:
        while (request := await self._requests.get()) is not None:
            yield request
            # It is asked for the next one when this one is written.
            self._queued_bytes -= (len(request.raw_input_contents[0]) if request.inputs else 0) + REQUEST_BYTES
            if self._queued_bytes <= MOST_QUEUED_BYTES:
                self._has_room.set()


def _code(error: TritonRefused) -> str:
    """Of the event that tells a refusal."""
    return "busy" if error.busy else "invalid" if error.invalid else "failed"
