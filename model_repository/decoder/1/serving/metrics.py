"""The engine's counts as Triton's custom metrics.

Setting a metric is a call to the server's process, so a thread of its own does it twice a second, not the engine.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from ..engine.scheduler import PRIORITIES
from .decoding import DecodingEngine

logger = logging.getLogger(__name__)

PERIOD_S = 0.5
COUNTERS = {
    "steps": "Forward passes",
    "step_seconds": "Seconds spent in forward passes",
    "network_cpu_seconds": "Processor time of the engine's thread inside of the network, of the one that drafts too",
    "computed_tokens": "Tokens computed: prompts, drafts and new ones",
    "generated_tokens": "Tokens of answers",
    "drafted_tokens": "Draft tokens offered by finished requests",
    "accepted_tokens": "Draft tokens accepted",
    "evicted_sessions": "Sessions whose kept blocks had to give way",
    "refused_requests": "Requests that found no place, or no turn in time",
}
GAUGES = {
    "running": "Sequences in the running batch, by priority",
    "waiting": "Sequences in the waiting room, by priority",
}


class Metrics:
    """Publishes one engine's figures, named asr_decoder_*, labelled with the model."""

    def __init__(self, pb_utils: Any, engine: DecodingEngine, model: str) -> None:
        self._engine = engine
        # An engine has no metric of what it does not count.
        counters = {name: text for name, text in COUNTERS.items() if name in engine.figures().counters}
        self._published: dict[str, float] = dict.fromkeys(counters, 0.0)

        def family(name: str, description: str, kind: Any) -> Any:
            return pb_utils.MetricFamily(name=f"asr_decoder_{name}", description=description, kind=kind)

        counter, gauge = pb_utils.MetricFamily.COUNTER, pb_utils.MetricFamily.GAUGE
        # A family must live as long as its metrics.
        self._families = {name: family(f"{name}_total", text, counter) for name, text in counters.items()}
        self._families |= {name: family(name, text, gauge) for name, text in GAUGES.items()}
        self._families["kv"] = family("kv_tokens_used", "Tokens of the KV cache in use", gauge)
        self._families["sessions"] = family("sessions", "Sessions with kept blocks", gauge)
        self._counters = {name: self._families[name].Metric(labels={"model": model}) for name in counters}
        self._gauges = {
            (name, priority): self._families[name].Metric(labels={"model": model, "priority": str(priority)})
            for name in GAUGES
            for priority in PRIORITIES
        }
        self._kv = self._families["kv"].Metric(labels={"model": model})
        self._sessions = self._families["sessions"].Metric(labels={"model": model})
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="decoder-metrics", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        self._stopping.set()
        self._thread.join(timeout_s)

    def _loop(self) -> None:
        while not self._stopping.wait(PERIOD_S):
            try:
                self._publish()
            except Exception:
                logger.exception("metrics could not be published")

    def _publish(self) -> None:
        figures = self._engine.figures()
        for name, metric in self._counters.items():
            now = float(figures.counters[name])
            if now != self._published[name]:
                metric.increment(now - self._published[name])
                self._published[name] = now
        for name, counts in (("running", figures.running), ("waiting", figures.waiting)):
            for priority in PRIORITIES:
                self._gauges[name, priority].set(float(counts.get(priority, 0)))
        self._kv.set(float(figures.kv_tokens))
        self._sessions.set(float(figures.sessions))
