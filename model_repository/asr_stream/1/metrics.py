"""The sessions' counts as Triton's custom metrics, named asr_stream_*."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

COUNTERS = {
    "sessions_begun": "Live sessions that began",
    "utterances": "Utterances that got their final",
    "partials": "Partials",
    "errors": "Error events",
    "audio_seconds": "Seconds of audio taken in",
}


@dataclass
class Counts:
    """Counts since the start; written on the sessions' loop."""

    sessions_begun: int = 0
    utterances: int = 0
    partials: int = 0
    errors: int = 0
    audio_seconds: float = 0.0


class Metrics:
    """`publish` takes a call to the server's process for every metric that changed: not on the sessions' loop."""

    def __init__(self, pb_utils: Any, model: str, instance: str) -> None:
        """instance: its name. Two processes must not share a metric: the first one that ends would take it along."""

        def metric(name: str, text: str, kind: Any) -> Any:
            family = pb_utils.MetricFamily(name=f"asr_stream_{name}", description=text, kind=kind)
            # A family must live as long as its metric.
            self._families.append(family)
            return family.Metric(labels={"model": model, "instance": instance})

        self._families: list[Any] = []
        self._counters = {
            name: metric(f"{name}_total", text, pb_utils.MetricFamily.COUNTER) for name, text in COUNTERS.items()
        }
        self._sessions = metric("sessions", "Live sessions now", pb_utils.MetricFamily.GAUGE)
        self._published: dict[str, float] = dict.fromkeys(COUNTERS, 0.0)
        self._num_sessions = -1

    def publish(self, counts: Counts, num_sessions: int) -> None:
        for name, metric in self._counters.items():
            now = float(getattr(counts, name))
            if now != self._published[name]:
                metric.increment(now - self._published[name])
                self._published[name] = now
        if num_sessions != self._num_sessions:
            self._sessions.set(float(num_sessions))
            self._num_sessions = num_sessions
