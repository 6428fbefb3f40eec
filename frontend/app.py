"""The application: routes, errors, and the Triton behind them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from frontend import __version__, errors, health, models, page, realtime, transcriptions, ws_transcribe
from frontend.backend import Backend
from frontend.drain import Drain
from frontend.limits import BodyLimit
from frontend.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """An application with its own backend, started and stopped with it."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.backend = Backend(settings)
        app.state.drain = Drain()
        await app.state.backend.start()
        try:
            yield
        finally:
            await app.state.backend.stop()

    app = FastAPI(title="Qwen3-ASR on Triton", version=__version__, lifespan=lifespan)
    app.state.settings = settings
    app.add_middleware(BodyLimit, max_bytes=int(settings.max_upload_mb * 1e6) + 1_000_000)
    errors.install(app)
    app.include_router(health.router)
    app.include_router(models.router)
    app.include_router(transcriptions.router)
    app.include_router(ws_transcribe.router)
    app.include_router(realtime.router)
    app.include_router(page.router)
    return app
