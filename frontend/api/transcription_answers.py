"""A recording's text in OpenAI's forms: whole, timed, or as a stream of events."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncGenerator, Sequence
from statistics import fmean
from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse, PlainTextResponse

from frontend.api.languages import as_codes
from frontend.api.transcription_request import TranscriptionRequest
from frontend.audio.subtitles import srt, vtt
from frontend.audio.timed import Timed
from frontend.audio.transcript import Piece, Transcript


def whole(request: TranscriptionRequest, transcript: Transcript, seconds: float, meta: dict[str, Any]) -> Response:
    """The answer of a request that does not stream. seconds: of the recording; meta: added where debug asks for it."""
    if request.response_format == "text":
        return PlainTextResponse(transcript.text + "\n")
    if request.response_format == "srt":
        return PlainTextResponse(srt(transcript.segments, request.layout, seconds))
    if request.response_format == "vtt":
        return PlainTextResponse(vtt(transcript.segments, request.layout, seconds), media_type="text/vtt")
    if request.response_format == "diarized_json":
        body = _diarized(transcript, seconds)
        return JSONResponse({**body, "meta": meta} if request.debug else body)
    if request.response_format == "verbose_json":
        body = _verbose(request, transcript, seconds)
        return JSONResponse({**body, "meta": meta} if request.debug else body)
    return JSONResponse(_text(request, transcript, meta))


async def events(
    request: TranscriptionRequest, pieces: AsyncGenerator[Piece, None], transcript: Transcript
) -> AsyncGenerator[str, None]:
    """transcript.text.delta for every piece of text, as server-sent events; the caller adds the end.

    transcript: where each piece is already added to when it comes.
    """
    async for piece in pieces:
        if piece.text:
            delta: dict[str, Any] = {"type": "transcript.text.delta", "delta": piece.text}
            if request.logprobs:
                delta["logprobs"] = logprobs(piece)
            yield event(delta)
        one = piece.segment
        if one is None or not one.text:
            continue
        parts = one.parts or (one,)
        for number, part in enumerate(parts, len(transcript.segments) - len(parts)):
            if request.segments or request.speakers is not None:
                yield event(_segment_event(number, part))
            if request.tells_words:
                yield event({"type": "transcript.text.words", "id": f"seg_{number}", **words_of([part])})


def _segment_event(number: int, part: Timed) -> dict[str, Any]:
    """A segment as OpenAI's events and diarized answers have it."""
    return {
        "type": "transcript.text.segment",
        "id": f"seg_{number}",
        "start": round(part.start, 3),
        "end": round(part.end, 3),
        "text": part.text,
        **_speaker(part),
    }


def _speaker(part: Timed) -> dict[str, str]:
    """`speaker`, and why it is not known where it is not."""
    error = {"speaker_error": part.speaker_error} if part.speaker_error else {}
    return {"speaker": part.speaker, **error}


def _diarized(transcript: Transcript, seconds: float) -> dict[str, Any]:
    return {
        "task": "transcribe",
        "duration": round(seconds, 3),
        "text": transcript.text,
        "segments": [_segment_event(number, one) for number, one in enumerate(transcript.segments)],
        "usage": {"type": "duration", "seconds": round(seconds)},
        **_by_a_model(transcript),
    }


def done(request: TranscriptionRequest, transcript: Transcript, meta: dict[str, Any]) -> str:
    """transcript.text.done: the whole text, and usage; of speakers, who spoke in each segment that was told, which is
    known best at the end."""
    named = [{"id": f"seg_{number}", "speaker": name} for number, name in enumerate(transcript.speakers)]
    told = {"speakers": named} if request.speakers is not None else {}
    return event({"type": "transcript.text.done", **_text(request, transcript, meta), **told})


def _text(request: TranscriptionRequest, transcript: Transcript, meta: dict[str, Any]) -> dict[str, Any]:
    """The whole text and what is told of it, as json and as a stream's end."""
    body: dict[str, Any] = {"text": transcript.text, "usage": usage(transcript)}
    if transcript.languages:
        body["languages"] = as_codes(transcript.languages)
    if request.logprobs:
        body["logprobs"] = [one for piece in transcript.pieces for one in logprobs(piece)]
    if request.debug:
        body["meta"] = meta
    return {**body, **_by_a_model(transcript)}


def _by_a_model(transcript: Transcript) -> dict[str, Any]:
    """`about`, what a language model tells of the text, and `correction_error`, why it did not do what was asked."""
    error = {"correction_error": transcript.correction_error} if transcript.correction_error else {}
    return {**error, **transcript.about}


def event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


def logprobs(piece: Piece) -> list[dict[str, Any]]:
    """Every token of a piece: its text (a part of a character is written as the replacement character), its bytes and
    its log-probability."""
    return [
        {"token": one.data.decode(errors="replace"), "bytes": list(one.data), "logprob": round(one.logprob, 6)}
        for one in piece.tokens
    ]


def words_of(segments: Sequence[Timed]) -> dict[str, Any]:
    """`words`, and `words_error` where those of a segment are not known."""
    told = [
        {
            "word": word.word,
            "start": round(word.start, 3),
            "end": round(word.end, 3),
            "confidence": round(word.confidence, 4),
        }
        for one in segments
        for word in one.words
    ]
    error = next((one.words_error for one in segments if one.words_error), "")
    return {"words": told, **({"words_error": error} if error else {})}


def usage(transcript: Transcript) -> dict[str, Any]:
    tokens = transcript.usage()
    audio = tokens["audio_tokens"]
    return {
        "type": "tokens",
        "input_tokens": tokens["prompt_tokens"],
        "input_token_details": {
            "audio_tokens": audio,
            "text_tokens": tokens["prompt_tokens"] - audio if tokens["prompt_tokens"] else 0,
        },
        "output_tokens": tokens["completion_tokens"],
        "total_tokens": tokens["total_tokens"],
    }


def _verbose(request: TranscriptionRequest, transcript: Transcript, seconds: float) -> dict[str, Any]:
    words = words_of(transcript.segments) if request.tells_words else {}
    # Who speaks is told by segments.
    is_left_out = request.tells_words and not request.segments and request.speakers is None
    segments = {} if is_left_out else {"segments": _segments(request, transcript)}
    return {
        "task": "transcribe",
        "language": transcript.languages[0].lower() if transcript.languages else "",
        "duration": round(seconds, 3),
        "text": transcript.text,
        **words,
        **segments,
        "usage": {"type": "duration", "seconds": round(seconds)},
        **_by_a_model(transcript),
    }


def _segments(request: TranscriptionRequest, transcript: Transcript) -> list[dict[str, Any]]:
    return [
        {
            "id": number,
            "seek": int(timed.start * 100),
            "start": round(timed.start, 3),
            "end": round(timed.end, 3),
            "text": timed.text,
            "tokens": [token.id for token in timed.tokens],
            "temperature": request.temperature,
            "avg_logprob": round(fmean(token.logprob for token in timed.tokens), 6) if timed.tokens else 0.0,
            "compression_ratio": _compression(timed.text),
            # The model tells speech from none by the language it names: a segment with text has speech.
            "no_speech_prob": 0.0,
            **({} if request.speakers is None else _speaker(timed)),
        }
        for number, timed in enumerate(transcript.segments)
    ]


def _compression(text: str) -> float:
    """Whisper's measure of repetition: how much smaller zlib makes the text."""
    data = text.encode()
    return round(len(data) / len(zlib.compress(data)), 3)
