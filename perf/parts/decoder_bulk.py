"""Live requests of the decoder's engine beside bulk clips."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from export.rooms import room
from perf.parts.decoder_setting import AFTER, BEFORE, ROWS_PER_S, Setting, run


def under_bulk(setting: Setting) -> dict[str, float]:
    """Latency of short live requests alone, and with 32 bulk clips in the engine at any time."""
    count = 6 if setting.quick else 40
    warm_up = room("decoder", "serving.warm_up").warm_up

    def latencies(engine: Any) -> list[float]:
        return [run(engine, [setting.sequence(2, 3, seed=900 + i, priority=1)]) for i in range(count)]

    engine = setting.engine(max_running=4)
    warm_up(engine, [1.0, 8.0])
    alone = latencies(engine)
    # No live request for a while: what the bulk does by itself.
    engine.scheduler._last_live = -1e9
    with _Bulk(setting, engine) as bulk:
        bulk.settle()
        rows, alone_s = _rows(engine, lambda: time.sleep(10 if setting.quick else 40))
        bulk_alone = rows / alone_s
        loaded: list[float] = []
        steps, seconds = engine.stats.steps, engine.stats.step_seconds
        rows, loaded_s = _rows(engine, lambda: loaded.extend(latencies(engine)))
        step_s = (engine.stats.step_seconds - seconds) / (engine.stats.steps - steps)
    # What the live requests would have taken of the engine by themselves is lost to the bulk, and no more should be.
    left_to_bulk = bulk_alone * (loaded_s - sum(alone))
    bulk_with_live = rows - count * (BEFORE + 2 * ROWS_PER_S + AFTER + 3)
    engine.stop()

    def p95(values: list[float]) -> float:
        return sorted(values)[-(-95 * len(values) // 100) - 1]

    return {
        "decoder.live_ms_p95_alone": 1_000 * p95(alone),
        "decoder.live_ms_p95_under_bulk": 1_000 * p95(loaded),
        "decoder.step_ms_under_bulk": 1_000 * step_s,
        "decoder.live_p95_under_bulk_ratio": p95(loaded) / p95(alone),
        # Against 1.5 times the unloaded latency and one step: at most 1.
        "decoder.live_p95_under_bulk_of_bound": p95(loaded) / (1.5 * p95(alone) + step_s),
        # Rows of bulk computed beside live requests, over those of bulk alone in the time that live requests leave.
        "decoder.bulk_beside_live_ratio": bulk_with_live / left_to_bulk,
    }


class _Bulk:
    """Keeps 32 bulk clips in an engine."""

    def __init__(self, setting: Setting, engine: Any) -> None:
        self._setting = setting
        self._engine = engine
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._feed)

    def __enter__(self) -> _Bulk:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def settle(self) -> None:
        """Until the first of them decode."""
        before = self._engine.stats.generated_tokens
        while self._engine.stats.generated_tokens < before + 20:
            time.sleep(0.05)

    def _feed(self) -> None:
        waiting: list[Any] = []
        number = 0
        while not self._stopping.wait(0.02):
            waiting = [one for one in waiting if not one.listener.done.is_set()]
            while len(waiting) < 32:
                waiting.append(self._setting.sequence(4 + number % 8, 40, seed=number % 50, priority=3))
                self._engine.submit(waiting[-1])
                number += 1


def _rows(engine: Any, work: Callable[[], object]) -> tuple[int, float]:
    """Rows that the engine computes while `work` runs, and how long that is."""
    rows, started = engine.stats.computed_tokens, time.monotonic()
    work()
    return engine.stats.computed_tokens - rows, time.monotonic() - started
