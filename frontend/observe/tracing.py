"""OpenTelemetry traces, where an endpoint is set: a span for every request, joined to Triton's own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontend.observe.request_ids import request_id

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

Metadata = tuple[tuple[str, str], ...]
PARENT = "traceparent"
# Asked every few seconds, and never slow.
UNTRACED = ("/health", "/metrics", "/static")


def provider(endpoint: str) -> TracerProvider:
    """What sends spans to `endpoint`/v1/traces; RuntimeError where the packages are missing."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise RuntimeError(f"ASR_OTLP_ENDPOINT needs the extra `tracing`: {error}") from error
    made = TracerProvider(resource=Resource.create({"service.name": "qwen3-asr-frontend"}))
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    made.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1_000))
    return made


class TracedRequests:
    """A span for each HTTP request and WebSocket, child of the client's where it sends one."""

    def __init__(self, app: ASGIApp, provider: TracerProvider) -> None:
        self._app = app
        self._tracer = provider.get_tracer("frontend")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"].startswith(UNTRACED):
            await self._app(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        headers = Headers(scope=scope)
        parent = TraceContextTextMapPropagator().extract({PARENT: headers.get(PARENT, "")})
        method = scope.get("method", "WEBSOCKET")
        with self._tracer.start_as_current_span(method, context=parent, kind=SpanKind.SERVER) as span:

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            try:
                await self._app(scope, receive, watched)
            finally:
                route: Any = getattr(scope.get("route"), "path", "unknown")
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)
                span.set_attribute("request_id", request_id(scope))


def metadata() -> Metadata:
    """gRPC metadata that makes Triton's spans children of the current one; none without tracing."""
    # Whoever traces has imported it; nobody else should pay for it.
    if "opentelemetry.sdk.trace" not in sys.modules:
        return ()
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return tuple(carrier.items())
