"""The application: routes, errors, and the Triton behind them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from frontend import __version__, errors
from frontend.api import compat, health, models, page, realtime, transcriptions, ws_transcribe
from frontend.audio.decode_pool import DecodePool
from frontend.guard.counts import SESSIONS, SOCKETS, Counts
from frontend.guard.drain import Drain
from frontend.guard.headers import SafeAnswers
from frontend.guard.hosts import HostGate
from frontend.guard.keys import KeyGate, Keys
from frontend.guard.limits import BodyLimit
from frontend.guard.names import RequestNames
from frontend.guard.origins import OriginGate
from frontend.guard.sockets import SocketGate, Sockets
from frontend.guard.uploads import Places, UploadGate
from frontend.observe import metrics as metrics_routes
from frontend.observe import tracing
from frontend.observe.metrics import MeasuredRequests, Metrics
from frontend.observe.tracing import TracedRequests
from frontend.settings import Settings
from frontend.wording.hotwords import HotwordLists
from frontend.wording.setting_up import wording_of
from frontend.workers.part import Part


def create_app(settings: Settings, part: Part | None = None) -> FastAPI:
    """An application with its backend, started and stopped with it. part: of a service of several processes, which this
    one serves; None: all of it. Raises KeysError and FilesWrong."""
    keys = part.keys if part is not None else Keys.of(settings)
    part = part or Part(keys, Counts(keys.num_clients))
    counts = part.counts

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.backend = part.backend(settings)
        app.state.metrics.servers.told = app.state.backend.servers
        app.state.drain = Drain(counts.count(SESSIONS))
        decoders, waiting = part.of(settings.decoders), part.of(settings.max_waiting_for_decoders)
        app.state.decoders = DecodePool(decoders, settings.decode_part_s, waiting)
        await app.state.backend.start()
        try:
            yield
        finally:
            await app.state.backend.stop()
            app.state.decoders.close()
            await app.state.wording.close()
            if tracer_provider is not None:
                await asyncio.to_thread(tracer_provider.shutdown)

    app = FastAPI(title="Qwen3-ASR on Triton", version=__version__, lifespan=lifespan)
    app.state.settings = settings
    app.state.counts = counts
    app.state.hotword_lists = HotwordLists(settings.hotwords_dir)
    app.state.metrics = Metrics(counts.count(SESSIONS))
    app.state.wording = wording_of(settings, app.state.metrics)
    share = settings.client_share / part.processes
    app.state.places = Places(settings.max_uploads, int(settings.max_uploads_mb * 1e6), share, counts)
    app.add_middleware(UploadGate, places=app.state.places)
    # Before one is accepted it is no session yet, and afterwards both.
    app.state.sockets = Sockets(settings.max_live_sessions, counts.count(SOCKETS))
    app.add_middleware(SocketGate, sockets=app.state.sockets)
    app.add_middleware(
        BodyLimit,
        max_bytes=int(settings.max_upload_mb * 1e6) + 1_000_000,
        idle_s=settings.body_idle_s,
        bytes_per_s=1_000 * settings.min_upload_kb_s,
    )
    if keys.hashes or settings.requests_per_minute or settings.requests_at_a_time:
        app.add_middleware(KeyGate, settings=settings, keys=keys, counts=counts)
    app.add_middleware(OriginGate, settings=settings)
    app.add_middleware(RequestNames)
    if settings.hosts:
        app.add_middleware(HostGate, names=settings.hosts)
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
