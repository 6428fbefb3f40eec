"""OpenAI's transcription and model routes."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse

from frontend.audio import AudioError, AudioTooLong, decode
from frontend.backend import Backend
from frontend.errors import ApiError
from frontend.settings import Settings

router = APIRouter(tags=["openai"])

FORMATS = ("json", "text")
STARTED = int(time.time())


@router.post("/v1/audio/transcriptions")
async def transcribe(
    request: Request,
    file: Annotated[UploadFile, File(description="Sound in any format that FFmpeg reads.")],
    model: Annotated[str, Form(description="A name that /v1/models lists.")],
    language: Annotated[str | None, Form(description="ISO-639 code or English name; left out: recognized.")] = None,
    prompt: Annotated[str | None, Form(description="Names and words to expect.")] = None,
    response_format: Annotated[str, Form(description="json or text.")] = "json",
    temperature: Annotated[float, Form(ge=0, le=1, description="0 takes the likeliest token each time.")] = 0.0,
    stream: Annotated[bool, Form(description="Not served yet: false.")] = False,
) -> Response:
    """Transcribe one file."""
    settings: Settings = request.app.state.settings
    backend: Backend = request.app.state.backend
    check_model(model, backend, settings)
    if response_format not in FORMATS:
        raise ApiError(400, f"response_format must be one of {', '.join(FORMATS)}", param="response_format")
    if stream:
        raise ApiError(400, "stream is not supported yet", param="stream")
    try:
        with anyio.fail_after(settings.request_timeout_s):
            pcm = await _decoded(request, file)
            client = await backend.client(settings.triton_start_timeout_s)
            result: dict[str, Any] = {}
            deltas = client.transcribe(
                pcm,
                language=language,
                context=prompt,
                request_id=request.headers.get("x-request-id") or uuid.uuid4().hex,
                parameters={"temperature": temperature} if temperature else None,
                timeout_s=settings.request_timeout_s,
            )
            async for delta in deltas:
                result = delta.result or result
    except TimeoutError:
        raise ApiError(504, f"the request took longer than {settings.request_timeout_s:g} s") from None
    if response_format == "text":
        return PlainTextResponse(result["text"] + "\n")
    return JSONResponse({"text": result["text"], "usage": _usage(result["usage"])})


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """The served model, and the names that stand for it."""
    names = served_names(request.app.state.backend, request.app.state.settings)
    return {"object": "list", "data": [_model(name) for name in names]}


@router.get("/v1/models/{name:path}")
async def model(request: Request, name: str) -> dict[str, Any]:
    check_model(name, request.app.state.backend, request.app.state.settings)
    return _model(name)


def served_names(backend: Backend, settings: Settings) -> list[str]:
    return [backend.served_model_name, *settings.model_aliases]


def check_model(name: str, backend: Backend, settings: Settings) -> None:
    """ApiError 404 where no model has this name."""
    names = served_names(backend, settings)
    if name not in names:
        raise ApiError(
            404,
            f"the model {name!r} does not exist; served are {', '.join(names)}",
            param="model",
            code="model_not_found",
        )


async def _decoded(request: Request, file: UploadFile) -> Any:
    settings: Settings = request.app.state.settings
    if file.size is not None and file.size > settings.max_upload_mb * 1e6:
        raise ApiError(413, f"the file is larger than {settings.max_upload_mb:g} MB", param="file")
    async with request.app.state.decoders:
        try:
            return await asyncio.to_thread(decode, file.file, settings.max_audio_seconds)
        except AudioTooLong as error:
            raise ApiError(413, str(error), param="file") from error
        except AudioError as error:
            raise ApiError(400, str(error), param="file") from error


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "tokens",
        "input_tokens": usage["prompt_tokens"],
        "input_token_details": {
            "audio_tokens": usage["audio_tokens"],
            "text_tokens": usage["prompt_tokens"] - usage["audio_tokens"] if usage["prompt_tokens"] else 0,
        },
        "output_tokens": usage["completion_tokens"],
        "total_tokens": usage["total_tokens"],
    }


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": STARTED, "owned_by": "qwen3-asr-triton"}
