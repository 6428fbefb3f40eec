"""What a room's threads do, as Triton's custom metrics named asr_room_*.

Triton's own statistics of a request end when it is handed over to a thread.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from .turns import PRIORITIES, Counts

logger = logging.getLogger(__name__)

INTERVAL_S = 1.0
COUNTERS = {
    "requests": "Requests taken",
    "queue_s": "Seconds that requests waited for their first run",
    "turns": "Requests in runs: a long one is in several, and several may share one",
    "runs": "Runs",
    "failures": "Requests that a run failed for",
    "compute_s": "Seconds of runs",
}
NAMES = {
    "requests": "requests_total",
    "queue_s": "queue_seconds_total",
    "turns": "turns_total",
    "runs": "runs_total",
    "failures": "failures_total",
    "compute_s": "compute_seconds_total",
}


class RoomMetrics:
    """Publishes from a thread of its own: each metric that changed is a call to the server's process."""

    def __init__(self, pb_utils: Any, counts: Counts, model: str, instance: str) -> None:
        """instance: labels of two instances must differ, or the one that ends takes the other's metric away."""
        self._counts = counts
        labels = {"model": model, "instance": instance}
        # A family must live as long as its metrics.
        self._families = {
            name: pb_utils.MetricFamily(
                name=f"asr_room_{NAMES[name]}", description=text, kind=pb_utils.MetricFamily.COUNTER
            )
            for name, text in COUNTERS.items()
        }
        self._counters = {
            (name, priority): family.Metric(labels={**labels, "priority": str(priority)})
            for name, family in self._families.items()
            for priority in PRIORITIES
        }
        self._waiting_family = pb_utils.MetricFamily(
            name="asr_room_waiting", description="Requests that wait now", kind=pb_utils.MetricFamily.GAUGE
        )
        self._waiting = self._waiting_family.Metric(labels=labels)
        self._published: dict[tuple[str, int], float] = dict.fromkeys(self._counters, 0.0)
        self._num_waiting = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._publish_all, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join(5.0)

    def _publish_all(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            try:
                self._publish()
            except Exception:
                logger.exception("metrics could not be published")

    def _publish(self) -> None:
        for (name, priority), metric in self._counters.items():
            now = float(getattr(self._counts, name)[priority])
            if now != self._published[name, priority]:
                metric.increment(now - self._published[name, priority])
                self._published[name, priority] = now
        if self._counts.waiting != self._num_waiting:
            self._num_waiting = self._counts.waiting
            self._waiting.set(float(self._num_waiting))
