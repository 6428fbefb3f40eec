"""The served model, the names that stand for it, and what clients expect of those that are OpenAI's."""

from __future__ import annotations

import re
import time
from typing import Any

from fastapi import APIRouter, Request

from frontend.errors import ApiError
from frontend.settings import Settings
from frontend.triton.backend import Backend

router = APIRouter(tags=["openai"])
STARTED = int(time.time())

# Of models that there are in a Realtime session only: there the client says where a turn ends.
REALTIME_ONLY = ("gpt-live-transcribe", "gpt-realtime-whisper")
SNAPSHOT = re.compile(r"-(\d{4}-\d{2}-\d{2}|latest)\Z", re.ASCII)
# Of a name that a message repeats.
MOST_CHARACTERS = 100


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """The served model, and the names that stand for it."""
    names = served_names(request.app.state.backend, request.app.state.settings)
    return {"object": "list", "data": [_model(name) for name in names]}


@router.get("/v1/models/{name:path}")
async def model(request: Request, name: str) -> dict[str, Any]:
    """One of them."""
    check_model(name, request.app.state.backend, request.app.state.settings)
    return _model(name)


def served_names(backend: Backend, settings: Settings) -> list[str]:
    return list(dict.fromkeys([backend.served_model_name, *settings.model_aliases]))


def is_served(name: str, names: list[str]) -> bool:
    """Whether a name is one of these, or a snapshot of one: gpt-4o-mini-transcribe-2025-12-15."""
    return name in names or SNAPSHOT.sub("", name) in names


def knows_turn_detection(name: str) -> bool:
    """Whether a client expects that a Realtime session by this name can end turns by itself."""
    return SNAPSHOT.sub("", name) not in REALTIME_ONLY


def not_served(name: str, names: list[str]) -> str:
    """What is said of a name that is none."""
    return f"the model {name[:MOST_CHARACTERS]!r} does not exist; served are {', '.join(names)}"


def check_model(name: str, backend: Backend, settings: Settings) -> None:
    """ApiError 404 where no model has this name. For files every name does, those of Realtime sessions too."""
    names = served_names(backend, settings)
    if not is_served(name, names):
        raise ApiError(404, not_served(name, names), param="model", code="model_not_found")


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": STARTED, "owned_by": "qwen3-asr-triton"}
