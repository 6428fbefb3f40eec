"""Routes that other servers have, thin over the same code."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import JSONResponse

from frontend.api.bounded_form import BoundedRoute
from frontend.api.form_fields import (
    MAX_NAME,
    Correct,
    Debug,
    FilterNames,
    Format,
    HotwordsField,
    Language,
    Mask,
    Phonetic,
    Prompt,
    Stream,
    Temperature,
    TextFormat,
    Upload,
)
from frontend.api.hotword_fields import hotwords_of
from frontend.api.transcription_job import answer, transcribed
from frontend.api.transcription_request import checked_request
from frontend.api.wording_request import checked_wording
from frontend.errors import ApiError
from frontend.triton.backend import Backend
from frontend.wording.filters import MASKS
from frontend.wording.wanted import RECOGNIZED

router = APIRouter(tags=["compatibility"], route_class=BoundedRoute)


@router.post("/api/v1/transcribe")
async def transcribe(
    request: Request,
    file: Upload,
    language: Language = None,
    initial_prompt: Prompt = None,
    temperature: Temperature = 0.0,
    response_format: Format = "json",
    word_timestamps: Annotated[bool, Form(description="Words with their times, in verbose_json or a stream.")] = False,
    hotwords: HotwordsField = None,
    text_format: TextFormat = RECOGNIZED,
    phonetic: Phonetic = False,
    filters: FilterNames = None,
    mask: Mask = MASKS[0],
    correct: Correct = None,
    stream: Stream = False,
    debug: Debug = False,
) -> Response:
    """Whisper's form fields; the same answers as /v1/audio/transcriptions."""
    backend: Backend = request.app.state.backend
    wanted = checked_request(
        response_format=response_format,
        stream=stream,
        language=language,
        prompt=initial_prompt,
        temperature=temperature,
        timestamp_granularities=("segment", "word") if word_timestamps else (),
        debug=debug,
        wording=checked_wording(
            request,
            text_format=text_format,
            phonetic=phonetic,
            filters=filters or (),
            mask=mask,
            correct=correct,
        ),
        has_aligner=backend.has_aligner,
        has_speakers=backend.has_speakers,
        hotwords=hotwords_of(request, hotwords, ()),
    )
    return await answer(request, file, wanted)


@router.post("/api/v1/asr")
async def asr(
    request: Request,
    audio_file: Upload,
    language: Language = None,
    initial_prompt: Prompt = None,
    text_format: TextFormat = RECOGNIZED,
    output: Annotated[str, Form(max_length=MAX_NAME, description="txt, json, srt or vtt.")] = "json",
    debug: Debug = False,
) -> Response:
    """The fields of Whisper's web services: `audio_file` and `output`."""
    formats = {"txt": "text", "json": "verbose_json", "srt": "srt", "vtt": "vtt"}
    if output not in formats:
        raise ApiError(400, f"output must be one of {', '.join(formats)}", param="output")
    wanted = checked_request(
        response_format=formats[output],
        language=language,
        prompt=initial_prompt,
        debug=debug,
        wording=checked_wording(request, text_format=text_format),
    )
    return await answer(request, audio_file, wanted)


@router.post("/api/v1/trans/video")
async def video(
    request: Request,
    file: Upload,
    language: Language = None,
    text_format: TextFormat = RECOGNIZED,
    debug: Debug = False,
) -> Response:
    """The sound of a film: text and timed segments, at the priority of bulk work."""
    wording = checked_wording(request, text_format=text_format)
    wanted = checked_request(response_format="verbose_json", language=language, debug=debug, wording=wording)
    transcript, seconds, meta = await transcribed(request, file, wanted, priority=3)
    body: dict[str, Any] = {
        "text": transcript.text,
        "language": transcript.languages[0] if transcript.languages else None,
        "duration": round(seconds, 3),
        "segments": [
            {"start": round(one.start, 3), "end": round(one.end, 3), "text": one.text} for one in transcript.segments
        ],
    }
    return JSONResponse({**body, "meta": meta} if debug else body)
