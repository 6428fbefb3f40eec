"""OpenAI's transcription routes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import threading
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import anyio
from fastapi import APIRouter, Form, Request, Response, UploadFile
from fastapi.responses import StreamingResponse

from frontend.api.bounded_form import BoundedRoute
from frontend.api.form_fields import (
    MAX_KEYWORDS,
    MAX_LANGUAGES,
    MAX_NAME,
    MAX_STRATEGY,
    Debug,
    Format,
    Language,
    Name,
    Prompt,
    Stream,
    Temperature,
    Upload,
)
from frontend.api.models import check_model
from frontend.api.transcription_answers import done, event, events, whole
from frontend.api.transcription_request import TranscriptionRequest, checked_request
from frontend.audio.decode_pool import DecodePool, DecodersBusy, DecodeTimeout
from frontend.audio.decoding import AudioError, AudioTooLong, decode_parts
from frontend.audio.recordings import Options, Piece, Recording, Transcript
from frontend.errors import CLIENT_CLOSED_REQUEST, ApiError, error_body, from_triton
from frontend.observe.metrics import Metrics
from frontend.observe.request_ids import request_id
from frontend.settings import Settings
from frontend.triton.backend import Backend
from frontend.triton.client import TritonRefused, TritonUnavailable

logger = logging.getLogger(__name__)
T = TypeVar("T")
router = APIRouter(tags=["openai"], route_class=BoundedRoute)

DISCONNECT_POLL_S = 0.5


@router.post("/v1/audio/transcriptions")
async def transcribe(
    request: Request,
    file: Upload,
    model: Name,
    language: Language = None,
    languages: Annotated[
        list[str] | None, Form(alias="languages[]", description=f"Possible languages, {MAX_LANGUAGES} at most.")
    ] = None,
    prompt: Prompt = None,
    keywords: Annotated[
        list[str] | None, Form(alias="keywords[]", description=f"Words to expect, {MAX_KEYWORDS} at most.")
    ] = None,
    response_format: Format = "json",
    temperature: Temperature = 0.0,
    include: Annotated[list[str] | None, Form(alias="include[]", description="logprobs")] = None,
    timestamp_granularities: Annotated[
        list[str] | None, Form(alias="timestamp_granularities[]", description="segment")
    ] = None,
    chunking_strategy: Annotated[
        str | None, Form(max_length=MAX_STRATEGY, description="auto, or json of server_vad.")
    ] = None,
    stream: Stream = False,
    debug: Debug = False,
) -> Response:
    """Transcribe one file of any length."""
    check_model(model, request.app.state.backend, request.app.state.settings)
    form = await request.form()
    wanted = checked_request(
        response_format=response_format,
        stream=stream,
        language=language,
        languages=languages or _texts(form, "languages"),
        prompt=prompt,
        keywords=keywords or _texts(form, "keywords"),
        temperature=temperature,
        include=include or _texts(form, "include"),
        timestamp_granularities=timestamp_granularities or _texts(form, "timestamp_granularities"),
        chunking_strategy=chunking_strategy or _chunking(form),
        debug=debug,
    )
    return await answer(request, file, wanted)


@router.post("/v1/audio/transcriptions/stream")
async def transcribe_stream(
    request: Request,
    file: Upload,
    model: Annotated[
        str | None,
        Form(max_length=MAX_NAME, description="A name that /v1/models lists; left out: the served one."),
    ] = None,
    language: Language = None,
    prompt: Prompt = None,
    temperature: Temperature = 0.0,
    debug: Debug = False,
) -> Response:
    """The same as server-sent events."""
    backend: Backend = request.app.state.backend
    return await transcribe(
        request,
        file,
        model or backend.served_model_name,
        language=language,
        prompt=prompt,
        temperature=temperature,
        stream=True,
        debug=debug,
    )


@router.post("/v1/audio/translations")
async def translate() -> Response:
    """Not served: the model writes what it hears, in the language it hears."""
    raise ApiError(400, "translation is not served: use /v1/audio/transcriptions", code="unsupported_endpoint")


async def answer(request: Request, file: UploadFile, wanted: TranscriptionRequest, priority: int = 2) -> Response:
    """Transcribe an upload and answer in the form that is wanted."""
    if not wanted.stream:
        return whole(wanted, *await transcribed(request, file, wanted, priority))
    async with contextlib.AsyncExitStack() as using:
        job = await using.enter_async_context(_job(request, file, wanted, priority))
        body = _stream(wanted, job)
        # The first event decides between an error's status and a stream.
        first = await _unless_disconnected(request, anext(body))
        rest = _chained(first, body, using.pop_all())
        return StreamingResponse(rest, media_type="text/event-stream", headers=NO_BUFFERING)


async def transcribed(
    request: Request, file: UploadFile, wanted: TranscriptionRequest, priority: int = 2
) -> tuple[Transcript, float, dict[str, Any]]:
    """Transcribe an upload: all of it, its seconds, and what debug tells."""
    async with _job(request, file, wanted, priority) as job:
        try:
            await _unless_disconnected(request, _collect(job))
        except Exception as error:
            raise _as_api_error(error, job.timeout_s) from error
        job.metrics.finished(job.recording.seconds, job.elapsed_s)
        return job.transcript, job.recording.seconds, job.meta()


@dataclass
class _Job:
    """One upload on its way."""

    recording: Recording
    transcript: Transcript
    request_id: str
    timeout_s: float
    metrics: Metrics
    started: float = field(default_factory=time.monotonic)

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started

    def meta(self) -> dict[str, Any]:
        """What debug tells: milliseconds of every stage."""
        total = {"frontend_total": round(1000 * self.elapsed_s, 3)}
        return {
            "request_id": self.request_id,
            "segments": len(self.transcript.results),
            "timings_ms": {**self.transcript.timings_ms(), **total},
        }

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """The recording's pieces, kept and counted as they come."""
        async with contextlib.aclosing(self.recording.pieces()) as pieces:
            async for piece in pieces:
                if piece.text and not self.transcript.text:
                    self.metrics.first_text(self.elapsed_s)
                self.transcript.add(piece)
                yield piece
        self.metrics.stages(self.transcript.timings_ms())


@contextlib.asynccontextmanager
async def _job(request: Request, file: UploadFile, wanted: TranscriptionRequest, priority: int) -> AsyncIterator[_Job]:
    """Triton is in use as long as this is open."""
    settings: Settings = request.app.state.settings
    backend: Backend = request.app.state.backend
    if file.size is not None and file.size > settings.max_upload_mb * 1e6:
        raise ApiError(413, f"the file is larger than {settings.max_upload_mb:g} MB", param="file")
    pool: DecodePool = request.app.state.decoders
    # Before Triton is waited for: who finds no place is told at once.
    _check_room(pool)
    started = time.monotonic()
    options = Options(
        request_id=request_id(request.scope) or uuid.uuid4().hex,
        language=wanted.language,
        context=wanted.context,
        temperature=wanted.temperature,
        priority=priority,
        rules=wanted.rules,
        patience_s=min(settings.segment_timeout_s, settings.request_timeout_s),
    )
    over = threading.Event()
    async with backend.use():
        parts = decode_parts(file.file, settings.max_audio_seconds, settings.decode_part_s, over.is_set)
        recording = Recording(backend.connected, parts, options, settings.segments_at_a_time, pool)
        metrics: Metrics = request.app.state.metrics
        try:
            yield _Job(recording, Transcript(), options.request_id, settings.request_timeout_s, metrics, started)
        finally:
            # A thread that still decodes goes on with somebody else's.
            over.set()


def _check_room(pool: DecodePool) -> None:
    try:
        pool.check()
    except DecodersBusy as error:
        raise _as_api_error(error, 0) from error


NO_BUFFERING = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


async def _collect(job: _Job) -> None:
    with anyio.fail_after(job.timeout_s):
        async for _ in job.pieces():
            pass


async def _stream(wanted: TranscriptionRequest, job: _Job) -> AsyncGenerator[str, None]:
    """Server-sent events; an error after the first is an event too, because the status is sent by then."""
    spoken = events(wanted, job.pieces(), job.transcript)
    begun = False
    try:
        async with contextlib.aclosing(spoken):
            while True:
                try:
                    text = await asyncio.wait_for(anext(spoken), max(0.0, job.timeout_s - job.elapsed_s))
                except StopAsyncIteration:
                    break
                begun = True
                yield text
        job.metrics.finished(job.recording.seconds, job.elapsed_s)
        yield done(wanted, job.transcript, job.meta())
    except Exception as error:
        known = _as_api_error(error, job.timeout_s)
        if not begun:
            raise known from error
        yield event({"type": "error", **error_body(known)})


async def _chained(
    first: str, rest: AsyncGenerator[str, None], using: contextlib.AsyncExitStack
) -> AsyncGenerator[str, None]:
    """The whole stream; Triton is in use until its end."""
    async with using, contextlib.aclosing(rest):
        yield first
        async for one in rest:
            yield one


def _as_api_error(error: Exception, timeout_s: float) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, AudioTooLong):
        return ApiError(413, str(error), param="file")
    if isinstance(error, AudioError | DecodeTimeout):
        return ApiError(400, str(error), param="file")
    if isinstance(error, DecodersBusy):
        return ApiError(503, f"{error}: try again soon", code="server_overloaded")
    if isinstance(error, TritonRefused | TritonUnavailable):
        return from_triton(error)
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return ApiError(504, f"the request took longer than {timeout_s:g} s")
    logger.error("a transcription failed", exc_info=error)
    return ApiError(500, "an internal error occurred")


async def _unless_disconnected(request: Request, work: Awaitable[T]) -> T:
    """Do the work, or drop it when its client has left."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=DISCONNECT_POLL_S)
            if not task.done() and await request.is_disconnected():
                raise ApiError(CLIENT_CLOSED_REQUEST, "the client has left")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _texts(form: Any, name: str) -> list[str]:
    """A list field without the brackets, as curl users write it."""
    return [value for value in form.getlist(name) if isinstance(value, str)]


def _chunking(form: Any) -> str | None:
    """server_vad by fields: the openai package writes chunking_strategy[type], chunking_strategy[threshold], ..."""
    prefix = "chunking_strategy["
    fields = {key[len(prefix) : -1]: value for key, value in form.items() if key.startswith(prefix)}
    if not fields:
        return None
    fields = {name: value if isinstance(value, str) else "a file" for name, value in fields.items()}
    if sum(len(name) + len(value) for name, value in fields.items()) > MAX_STRATEGY:
        message = f"chunking_strategy has more than {MAX_STRATEGY} characters"
        raise ApiError(400, message, param="chunking_strategy")
    numbers = {name: _as_number(value) for name, value in fields.items() if name != "type"}
    return json.dumps({"type": fields.get("type"), **numbers})


def _as_number(value: str) -> float | str:
    """A number, or what was written where it is none that JSON has."""
    try:
        number = float(value)
    except ValueError:
        return value
    return number if math.isfinite(number) else value
