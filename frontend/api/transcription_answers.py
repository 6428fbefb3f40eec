"""A recording's text in OpenAI's forms: whole, timed, or as a stream of events."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncGenerator
from statistics import fmean
from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse, PlainTextResponse

from frontend.api.languages import as_codes
from frontend.api.transcription_request import TranscriptionRequest
from frontend.audio.recordings import Piece, Transcript
from frontend.audio.subtitles import srt, vtt


def whole(request: TranscriptionRequest, transcript: Transcript, seconds: float, meta: dict[str, Any]) -> Response:
    """The answer of a request that does not stream. seconds: of the recording; meta: added where debug asks for it."""
    if request.response_format == "text":
        return PlainTextResponse(transcript.text + "\n")
    if request.response_format == "srt":
        return PlainTextResponse(srt(transcript.segments))
    if request.response_format == "vtt":
        return PlainTextResponse(vtt(transcript.segments), media_type="text/vtt")
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
        if request.segments and piece.segment is not None and piece.segment.text:
            one = piece.segment
            number = len(transcript.segments) - 1
            body = {"id": f"seg_{number}", "start": round(one.start, 3), "end": round(one.end, 3), "text": one.text}
            yield event({"type": "transcript.text.segment", **body, "speaker": ""})


def done(request: TranscriptionRequest, transcript: Transcript, meta: dict[str, Any]) -> str:
    """transcript.text.done: the whole text, and usage."""
    return event({"type": "transcript.text.done", **_text(request, transcript, meta)})


def _text(request: TranscriptionRequest, transcript: Transcript, meta: dict[str, Any]) -> dict[str, Any]:
    """The whole text and what is told of it, as json and as a stream's end."""
    body: dict[str, Any] = {"text": transcript.text, "usage": usage(transcript)}
    if transcript.languages:
        body["languages"] = as_codes(transcript.languages)
    if request.logprobs:
        body["logprobs"] = [one for piece in transcript.pieces for one in logprobs(piece)]
    if request.debug:
        body["meta"] = meta
    return body


def event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


def logprobs(piece: Piece) -> list[dict[str, Any]]:
    """Every token of a piece: its text (a part of a character is written as the replacement character), its bytes and
    its log-probability."""
    return [
        {"token": one.data.decode(errors="replace"), "bytes": list(one.data), "logprob": round(one.logprob, 6)}
        for one in piece.tokens
    ]


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
    return {
        "task": "transcribe",
        "language": transcript.languages[0].lower() if transcript.languages else "",
        "duration": round(seconds, 3),
        "text": transcript.text,
        "segments": [
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
            }
            for number, timed in enumerate(transcript.segments)
        ],
        "usage": {"type": "duration", "seconds": round(seconds)},
    }


def _compression(text: str) -> float:
    """Whisper's measure of repetition: how much smaller zlib makes the text."""
    data = text.encode()
    return round(len(data) / len(zlib.compress(data)), 3)
