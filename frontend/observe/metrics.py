"""The frontend's own counts for Prometheus, at /metrics; Triton has its own."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontend.guard.counts import SESSIONS, Count, alone
from frontend.observe.request_ids import request_id

logger = logging.getLogger(__name__)
router = APIRouter(tags=["operations"])

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
DELAYS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30)
SMALL = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1)
FACTORS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3)


class LiveSessions:
    """A gauge of the whole service, whichever process tells it."""

    def __init__(self, count: Count) -> None:
        self._count = count

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("asr_frontend_live_sessions", "Live sessions now", value=self._count.total)


class Servers:
    """Gauges of each Triton there is now, as whichever process tells it knows them: those that are gone leave none."""

    def __init__(self) -> None:
        # What /health says of each.
        self.told: Callable[[], list[dict[str, Any]]] = list

    def collect(self) -> Iterable[Metric]:
        ready = GaugeMetricFamily("asr_frontend_server_ready", "Whether a Triton takes work", labels=["server"])
        sessions = GaugeMetricFamily(
            "asr_frontend_server_live_sessions", "Live sessions of a Triton", labels=["server"]
        )
        segments = GaugeMetricFamily("asr_frontend_server_segments", "Segments of files of a Triton", labels=["server"])
        for one in self.told():
            ready.add_metric([one["url"]], float(one["state"] == "ready"))
            sessions.add_metric([one["url"]], one["live_sessions"])
            segments.add_metric([one["url"]], one["segments"])
        yield from (ready, sessions, segments)


class Metrics:
    """One registry an application. Where the service has several processes, each writes what it counts into a file
    (prometheus_client's multiprocess mode, by PROMETHEUS_MULTIPROC_DIR), and any of them tells the sum."""

    def __init__(self, sessions: Count | None = None) -> None:
        """sessions: live ones, of the whole service."""
        self.registry = CollectorRegistry()
        self._live = LiveSessions(sessions or alone(SESSIONS))
        self.registry.register(self._live)
        self.servers = Servers()
        self.registry.register(self.servers)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"asr_frontend_{name}", text, labels, registry=self.registry, buckets=buckets)

        self.requests = histogram("request_seconds", "Time of HTTP requests", SECONDS, "route", "method", "status")
        self._stages = histogram("stage_seconds", "Time of the decoder's stages of a request", SECONDS, "stage")
        self._ttft = histogram("first_text_seconds", "Time to the first text of a file whose text is streamed", SECONDS)
        self._rtf = histogram("real_time_factor", "Seconds of work for each second of a file", FACTORS)
        self._delays = {
            "first_partial": histogram("live_first_partial_seconds", "From an utterance's begin to its text", DELAYS),
            "partial": histogram("live_partial_seconds", "From the arrival of a partial's last sound to it", DELAYS),
            "final": histogram("live_final_seconds", "From the arrival of a final's last sound to it", DELAYS),
        }
        self._wording = histogram("wording_seconds", "Time of a text's steps, without a language model's", SMALL)
        self._edits = Counter(
            "asr_frontend_wording_edits", "What the steps changed in texts", ["step"], registry=self.registry
        )
        self.corrections = Counter(
            "asr_frontend_corrections",
            "Texts that a model was asked about",
            ["outcome"],
            registry=self.registry,
        )
        self._audio = Counter("asr_frontend_audio_seconds", "Seconds of files transcribed", registry=self.registry)
        self.errors = Counter("asr_frontend_errors", "Errors told", ["route", "status"], registry=self.registry)

    def refused(self, times: int) -> None:
        """So many uploads were told that there is no place, before they became requests."""
        self.errors.labels("unknown", 503).inc(times)

    def told(self) -> bytes:
        """All of it, in Prometheus' text format."""
        registry = self.registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
            registry.register(self._live)
            registry.register(self.servers)
        return generate_latest(registry)

    def first_text(self, seconds: float) -> None:
        self._ttft.observe(seconds)

    def live_delay(self, name: str, seconds: float) -> None:
        """Of a live session's `first_partial`, `partial` or `final`: since the sound that it covers had come."""
        self._delays[name].observe(seconds)

    def worded(self, edits: dict[str, int], milliseconds: float) -> None:
        """Of one text: edits by step."""
        self._wording.observe(milliseconds / 1000)
        for step, count in edits.items():
            self._edits.labels(step).inc(count)

    def stages(self, timings_ms: dict[str, float]) -> None:
        for name, milliseconds in timings_ms.items():
            self._stages.labels(name).observe(milliseconds / 1000)

    def finished(self, audio_seconds: float, seconds: float) -> None:
        self._audio.inc(audio_seconds)
        if audio_seconds > 0:
            self._rtf.observe(seconds / audio_seconds)


class MeasuredRequests:
    """Observes every HTTP request, and every WebSocket that is refused, by its route, not its path: what clients make
    up must not become labels."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 500
        method = scope.get("method", "WEBSOCKET")

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = 101
            elif message["type"] == "websocket.close" and status == 500:
                status = 403
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            route: Any = scope.get("route")
            path = getattr(route, "path", "unknown")
            seconds = time.monotonic() - started
            if status != 101:
                self._metrics.requests.labels(path, method, status).observe(seconds)
            fields = {"route": path, "method": method, "status": status, "ms": round(1000 * seconds, 1)}
            fields["request_id"] = request_id(scope)
            logger.info("%(method)s %(route)s %(status)s %(ms)s ms", fields, extra=fields)
            if status >= 400:
                self._metrics.errors.labels(path, status).inc()


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    return Response(request.app.state.metrics.told(), media_type=CONTENT_TYPE_LATEST)
