"""Is it alive, can it answer, and what is it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from frontend import __version__
from frontend.triton.backend import Backend
from frontend.triton.client import TritonUnavailable
from frontend.wording.stage import Wording

router = APIRouter(tags=["health"])


@router.get("/health")
async def health(request: Request) -> JSONResponse:
    """State of the frontend, of Triton and of its models; 200 when a request would be answered now, else 503."""
    backend: Backend = request.app.state.backend
    readiness, ready = backend.readiness(), backend.is_ready()
    status = "failed" if backend.failure else "starting"
    if ready:
        status = "asleep" if backend.is_asleep else "ready"
    body: dict[str, object] = {
        "status": status,
        "version": __version__,
        "model": backend.served_model_name,
    }
    if backend.failure:
        body["failure"] = backend.failure
    body["active"] = backend.active
    body["live_sessions"] = request.app.state.drain.num_sessions
    body["profile"] = backend.profile
    body["word_timestamps"] = backend.has_aligner
    body["speakers"] = backend.has_speakers
    wording: Wording = request.app.state.wording
    body["wording"] = {
        "written": wording.languages,
        "filters": wording.filters.names,
        "correct": {name: role.about for name, role in wording.roles.items()} if wording.has_endpoint else None,
    }
    client = backend.current
    body["servers"] = backend.servers()
    # What has to be loaded, and whether it is; `models` is all that the repository has.
    body["needed"] = readiness or dict.fromkeys(backend.models, False)
    if lost := backend.lost:
        body["lost"] = lost
    body["healed"] = backend.healed
    if client is not None:
        try:
            metrics = {"metrics": backend.metrics_url} if backend.metrics_url else {}
            body["triton"] = {**await backend.server(), "url": client.url, **metrics}
            body["models"] = backend.states
        except TritonUnavailable as error:
            body["failure"] = str(error)
    return JSONResponse(body, status_code=200 if ready else 503)


@router.get("/health/live")
async def live() -> dict[str, str]:
    """200 as long as the frontend itself works."""
    return {"status": "alive"}


@router.get("/health/ready")
async def ready(request: Request) -> JSONResponse:
    """200 when a request would be answered, else 503; also while the server ends."""
    is_ready = not request.app.state.drain.started.is_set() and request.app.state.backend.is_ready()
    return JSONResponse({"status": "ready" if is_ready else "not ready"}, status_code=200 if is_ready else 503)
