"""The application: routes, errors, and the Triton behind them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from frontend import __version__, errors
from frontend.api import compat, health, models, page, realtime, transcriptions, ws_transcribe
from frontend.guard.drain import Drain
from frontend.guard.headers import SafeAnswers
from frontend.guard.keys import KeyGate, Keys
from frontend.guard.limits import BodyLimit
from frontend.guard.origins import OriginGate
from frontend.observe import metrics as metrics_routes
from frontend.observe import tracing
from frontend.observe.metrics import MeasuredRequests, Metrics
from frontend.observe.tracing import TracedRequests
from frontend.settings import Settings
from frontend.triton.backend import Backend


def create_app(settings: Settings) -> FastAPI:
    """An application with its own backend, started and stopped with it. Raises KeysError."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.backend = Backend(settings)
        app.state.drain = Drain()
        await app.state.backend.start()
        try:
            yield
        finally:
            await app.state.backend.stop()
            if tracer_provider is not None:
                await asyncio.to_thread(tracer_provider.shutdown)

    app = FastAPI(title="Qwen3-ASR on Triton", version=__version__, lifespan=lifespan)
    app.state.settings = settings
    app.state.metrics = Metrics()
    app.add_middleware(BodyLimit, max_bytes=int(settings.max_upload_mb * 1e6) + 1_000_000)
    keys = Keys.of(settings)
    if keys.hashes or settings.requests_per_minute or settings.requests_at_a_time:
        app.add_middleware(KeyGate, settings=settings, keys=keys)
    app.add_middleware(OriginGate, settings=settings)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.cors_origins, allow_methods=["*"], allow_headers=["*"]
        )
    app.add_middleware(SafeAnswers)
    app.add_middleware(MeasuredRequests, metrics=app.state.metrics)
    tracer_provider = tracing.provider(settings.otlp_endpoint) if settings.otlp_endpoint else None
    if tracer_provider is not None:
        app.add_middleware(TracedRequests, provider=tracer_provider)
    errors.install(app)
    app.include_router(health.router)
    app.include_router(models.router)
    app.include_router(transcriptions.router)
    app.include_router(compat.router)
    app.include_router(ws_transcribe.router)
    app.include_router(realtime.router)
    app.include_router(page.router)
    app.include_router(metrics_routes.router)
    return app
