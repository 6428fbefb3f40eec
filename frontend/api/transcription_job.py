"""An upload on its way: heard by Triton, answered whole or as a stream of events."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import anyio
from fastapi import Request, Response, UploadFile
from fastapi.responses import StreamingResponse
from starlette.formparsers import MultiPartParser

from frontend.api.references import busy, judged, references_of
from frontend.api.transcription_answers import done, event, events, whole
from frontend.api.transcription_request import TranscriptionRequest
from frontend.audio.decode_pool import DecodePool, DecodersBusy, DecodeTimeout
from frontend.audio.decoding import AudioError, AudioTooLong, decode_parts
from frontend.audio.recordings import Options, Recording
from frontend.audio.rewriting import Rewriting
from frontend.audio.speakers import Wanted
from frontend.audio.transcript import Piece, Transcript
from frontend.audio.wav import plain_parts
from frontend.errors import CLIENT_CLOSED_REQUEST, ApiError, error_body, from_triton
from frontend.observe.metrics import Metrics
from frontend.observe.request_ids import request_id
from frontend.settings import Settings
from frontend.triton.backend import Backend
from frontend.triton.client import TritonRefused, TritonUnavailable
from frontend.wording.hotwords import as_parameter
from frontend.wording.stage import Wording

logger = logging.getLogger(__name__)
T = TypeVar("T")

DISCONNECT_POLL_S = 0.5
# Larger uploads lie on the disk.
IN_MEMORY_BYTES = MultiPartParser.spool_max_size
# Of a request's time a language model may take so much; what is left is for the text as it is.
CORRECTION_SHARE = 0.75
NO_BUFFERING = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


async def answer(request: Request, file: UploadFile, wanted: TranscriptionRequest, priority: int = 2) -> Response:
    """Transcribe an upload and answer in the form that is wanted."""
    if not wanted.stream:
        heard = await transcribed(request, file, wanted, priority)
        # Hours of words take a moment to be laid out, in which live speech would stand still.
        return await asyncio.to_thread(whole, wanted, *heard) if wanted.words else whole(wanted, *heard)
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
    """One upload on its way. about: what is told of its whole text, as the answer has it."""

    recording: Recording
    transcript: Transcript
    request_id: str
    timeout_s: float
    metrics: Metrics
    streams: bool
    about: Callable[[str], Awaitable[dict[str, Any]]]
    rewriting: Rewriting | None = None
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
            **({} if self.rewriting is None else {"wording": self.rewriting.meta()}),
        }

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """The recording's pieces, kept and counted as they come."""
        async with contextlib.aclosing(self.recording.pieces()) as pieces:
            async for piece in pieces:
                if self.streams and piece.text and not self.transcript.text:
                    self.metrics.first_text(self.elapsed_s)
                self.transcript.add(piece)
                yield piece
        if self.recording.speakers is not None:
            # Who spoke is known best at the end.
            self.transcript.speakers, self.transcript.segments = self.recording.speakers.final(self.transcript.segments)
        self.transcript.about = await self.about(self.transcript.text)
        self.metrics.stages(self.transcript.timings_ms())


@contextlib.asynccontextmanager
async def _job(request: Request, file: UploadFile, wanted: TranscriptionRequest, priority: int) -> AsyncIterator[_Job]:
    """Triton is in use as long as this is open."""
    settings: Settings = request.app.state.settings
    backend: Backend = request.app.state.backend
    if file.size is not None and file.size > settings.max_upload_mb * 1e6:
        raise ApiError(413, f"the file is larger than {settings.max_upload_mb:g} MB", param="file")
    started = time.monotonic()
    over = threading.Event()
    plain = plain_parts(file.file, settings.max_audio_seconds)
    parts = plain or decode_parts(file.file, settings.max_audio_seconds, settings.decode_part_s, over.is_set)
    # What is in memory and needs no decoding is read at once: the way to a thread and back takes longer.
    is_at_hand = plain is not None and file.size is not None and file.size <= IN_MEMORY_BYTES
    pool: DecodePool | None = None if is_at_hand else request.app.state.decoders
    if pool is not None:
        # Before Triton is waited for: who finds no place is told at once.
        _check_room(pool)
    options = Options(
        request_id=request_id(request.scope) or uuid.uuid4().hex,
        language=wanted.language,
        context=wanted.context,
        temperature=wanted.temperature,
        priority=priority,
        rules=wanted.rules,
        patience_s=min(settings.segment_timeout_s, settings.request_timeout_s),
        # What is rewritten is told segment by segment.
        deltas=wanted.stream and not wanted.wording.rewrites,
        words=wanted.words,
        hotwords=as_parameter(wanted.hotwords),
    )
    wording: Wording = request.app.state.wording
    corrects_until = started + CORRECTION_SHARE * settings.request_timeout_s
    rewriting = Rewriting(wording, wanted.wording, wanted.language, corrects_until) if wanted.wording.rewrites else None
    await wording.prepare(wanted.wording)
    references = await references_of(wanted, request.app.state.decoders)
    async with backend.use():
        if wanted.speakers is not None:
            speakers = wanted.speakers
            named = zip(references, speakers.names, strict=True)
            probabilities = [await judged(backend, pcm, name, options.patience_s) for pcm, name in named]
            told = Wanted(speakers.names, tuple(references), tuple(probabilities), speakers.at_least, speakers.at_most)
            options = replace(options, speakers=told)
        recording = Recording(backend.connected, parts, options, settings.segments_at_a_time, pool, rewriting)
        metrics: Metrics = request.app.state.metrics
        try:
            timeout_s = settings.request_timeout_s
            yield _Job(
                recording,
                Transcript(),
                options.request_id,
                timeout_s,
                metrics,
                wanted.stream,
                lambda text: wording.about(text, wanted.wording, max(0.0, corrects_until - time.monotonic())),
                rewriting,
                started,
            )
        finally:
            # A thread that still decodes goes on with somebody else's.
            over.set()


def _check_room(pool: DecodePool) -> None:
    try:
        pool.check()
    except DecodersBusy as error:
        raise busy(error) from error


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
        return busy(error)
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
