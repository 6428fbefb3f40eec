"""Routes that other servers have, thin over the same code."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import JSONResponse

from frontend.transcription_request import checked_request
from frontend.transcriptions import answer, transcribed

router = APIRouter(tags=["compatibility"])


@router.post("/api/v1/transcribe")
async def transcribe(
    request: Request,
    file: Annotated[UploadFile, File(description="Sound, or a film with sound.")],
    language: Annotated[str | None, Form(description="ISO-639 code or English name.")] = None,
    initial_prompt: Annotated[str | None, Form(description="Names and words to expect.")] = None,
    temperature: Annotated[float, Form(ge=0, le=1)] = 0.0,
    response_format: Annotated[str, Form(description="json, text, srt, verbose_json or vtt.")] = "json",
    stream: Annotated[bool, Form(description="Answer with server-sent events.")] = False,
    debug: Annotated[bool, Form(description="Add meta.timings_ms.")] = False,
) -> Response:
    """Whisper's form fields; the same answers as /v1/audio/transcriptions."""
    wanted = _checked(response_format, stream, language, initial_prompt, temperature, debug)
    return await answer(request, file, wanted)


@router.post("/api/v1/asr")
async def asr(
    request: Request,
    audio_file: Annotated[UploadFile, File(description="Sound, or a film with sound.")],
    language: Annotated[str | None, Form(description="ISO-639 code or English name.")] = None,
    initial_prompt: Annotated[str | None, Form(description="Names and words to expect.")] = None,
    output: Annotated[str, Form(description="txt, json, srt or vtt.")] = "json",
    debug: Annotated[bool, Form(description="Add meta.timings_ms.")] = False,
) -> Response:
    """The fields of Whisper's web services: `audio_file` and `output`."""
    formats = {"txt": "text", "json": "verbose_json"}
    wanted = _checked(formats.get(output, output), False, language, initial_prompt, 0.0, debug)
    return await answer(request, audio_file, wanted)


@router.post("/api/v1/trans/video")
async def video(
    request: Request,
    file: Annotated[UploadFile, File(description="A film with sound.")],
    language: Annotated[str | None, Form(description="ISO-639 code or English name.")] = None,
    debug: Annotated[bool, Form(description="Add meta.timings_ms.")] = False,
) -> Response:
    """The sound of a film: text and timed segments, at the priority of bulk work."""
    wanted = _checked("verbose_json", False, language, None, 0.0, debug)
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


def _checked(
    response_format: str, stream: bool, language: str | None, prompt: str | None, temperature: float, debug: bool
) -> Any:
    return checked_request(
        response_format=response_format,
        stream=stream,
        language=language,
        languages=(),
        prompt=prompt,
        keywords=(),
        temperature=temperature,
        include=(),
        timestamp_granularities=(),
        chunking_strategy=None,
        debug=debug,
    )
