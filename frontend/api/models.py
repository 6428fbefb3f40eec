"""The served model and the names that stand for it."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request

from frontend.api.form_fields import MAX_NAME
from frontend.errors import ApiError
from frontend.settings import Settings
from frontend.triton.backend import Backend

router = APIRouter(tags=["openai"])
STARTED = int(time.time())


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
    return [backend.served_model_name, *settings.model_aliases]


def check_model(name: str, backend: Backend, settings: Settings) -> None:
    """ApiError 404 where no model has this name."""
    names = served_names(backend, settings)
    if name not in names:
        raise ApiError(
            404,
            f"the model {name[:MAX_NAME]!r} does not exist; served are {', '.join(names)}",
            param="model",
            code="model_not_found",
        )


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": STARTED, "owned_by": "qwen3-asr-triton"}
