"""OpenAI's transcription routes."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response

from frontend.api.bounded_form import BoundedRoute
from frontend.api.form_fields import (
    MAX_KEYWORDS,
    MAX_LANGUAGES,
    MAX_NAME,
    MAX_STRATEGY,
    Correct,
    Debug,
    Diarize,
    FilterNames,
    Format,
    HighlightWords,
    HotwordsField,
    Karaoke,
    KnownNames,
    KnownReferences,
    Language,
    LineCount,
    LineWidth,
    ListNames,
    Mask,
    MaxSpeakers,
    MinSpeakers,
    Name,
    Phonetic,
    Prompt,
    Stream,
    Temperature,
    TextFormat,
    Upload,
    WordsPerLine,
)
from frontend.api.hotword_fields import hotwords_of
from frontend.api.models import check_model
from frontend.api.speakers_request import NAMES, REFERENCES, checked_speakers
from frontend.api.transcription_job import answer
from frontend.api.transcription_request import checked_request
from frontend.api.wording_request import checked_wording
from frontend.audio.subtitles import SubtitleLayout
from frontend.errors import ApiError
from frontend.triton.backend import Backend
from frontend.wording.filters import MASKS
from frontend.wording.wanted import RECOGNIZED

router = APIRouter(tags=["openai"], route_class=BoundedRoute)


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
        list[str] | None, Form(alias="timestamp_granularities[]", description="segment, word")
    ] = None,
    chunking_strategy: Annotated[
        str | None, Form(max_length=MAX_STRATEGY, description="auto, or json of server_vad.")
    ] = None,
    max_line_width: LineWidth = None,
    max_line_count: LineCount = None,
    max_words_per_line: WordsPerLine = None,
    highlight_words: HighlightWords = False,
    karaoke: Karaoke = False,
    diarize: Diarize = False,
    known_speaker_names: KnownNames = None,
    known_speaker_references: KnownReferences = None,
    min_speakers: MinSpeakers = None,
    max_speakers: MaxSpeakers = None,
    hotwords: HotwordsField = None,
    hotword_lists: ListNames = None,
    text_format: TextFormat = RECOGNIZED,
    phonetic: Phonetic = False,
    filters: FilterNames = None,
    mask: Mask = MASKS[0],
    correct: Correct = None,
    stream: Stream = False,
    debug: Debug = False,
) -> Response:
    """Transcribe one file of any length."""
    backend: Backend = request.app.state.backend
    check_model(model, backend, request.app.state.settings)
    form = await request.form()
    speakers = checked_speakers(
        known_speaker_names or _texts(form, NAMES),
        known_speaker_references or _texts(form, REFERENCES),
        min_speakers,
        max_speakers,
        diarize=diarize,
    )
    wording = checked_wording(
        request,
        text_format=text_format,
        phonetic=phonetic,
        filters=filters or _texts(form, "filters"),
        mask=mask,
        correct=correct,
    )
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
        layout=SubtitleLayout(max_line_width, max_line_count, max_words_per_line, highlight_words, karaoke),
        speakers=speakers,
        wording=wording,
        has_aligner=backend.has_aligner,
        has_speakers=backend.has_speakers,
        hotwords=hotwords_of(request, hotwords, hotword_lists or _texts(form, "hotword_lists")),
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
    text_format: TextFormat = RECOGNIZED,
    filters: FilterNames = None,
    mask: Mask = MASKS[0],
    correct: Correct = None,
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
        text_format=text_format,
        filters=filters,
        mask=mask,
        correct=correct,
        stream=True,
        debug=debug,
    )


@router.post("/v1/audio/translations")
async def translate() -> Response:
    """Not served: the model writes what it hears, in the language it hears."""
    raise ApiError(400, "translation is not served: use /v1/audio/transcriptions", code="unsupported_endpoint")


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
