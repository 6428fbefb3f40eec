"""Thousands of hostile inputs at the real stack, and what they did to it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from perf.chaos.census import Census, census
from perf.chaos.hostile.answers import Answer, Tally
from perf.chaos.hostile.attack import Attack, Kind
from perf.chaos.hostile.beside import Beside
from perf.chaos.hostile.catalogue import KINDS, attacks
from perf.chaos.hostile.sending import Sender
from perf.chaos.stage import Stage
from perf.chaos.traffic import prepared

AT_A_TIME = 32
# Live sessions that hostile clients left behind are noticed within this time.
QUIET_WITHIN_S = 60.0


@dataclass
class Onslaught:
    """What was found. beside: see Beside.judged. left: live sessions that were still there afterwards."""

    tally: Tally = field(default_factory=Tally)
    seconds: float = 0.0
    beside: dict[str, int] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    tracebacks: Counter[str] = field(default_factory=Counter)
    left: int = 0
    growth: list[dict[str, object]] = field(default_factory=list)
    growth_mb: float = 0.0
    growth_descriptors: int = 0

    @property
    def is_clean(self) -> bool:
        broken = self.tally.count(Answer.FAILED, Answer.LATE)
        return not (broken or self.crashes or self.tracebacks or self.complaints or self.left)

    def figures(self) -> dict[str, Any]:
        tally = self.tally
        inputs = sum(tally.answers.values())
        return {
            "chaos.hostile_inputs": inputs,
            "chaos.hostile_5xx": tally.num_5xx,
            "chaos.hostile_failed_otherwise": tally.count(Answer.FAILED) - tally.num_5xx,
            "chaos.hostile_hangs": tally.count(Answer.LATE),
            "chaos.hostile_busy": tally.count(Answer.BUSY),
            "chaos.hostile_crashes": len(self.crashes),
            "chaos.hostile_tracebacks": self.tracebacks.total(),
            "chaos.hostile_per_s": inputs / self.seconds if self.seconds else 0.0,
            "chaos.hostile_slowest_s": tally.slowest_s,
            "chaos.hostile_beside_partials": self.beside.get("partials", 0),
            "chaos.hostile_beside_files": self.beside.get("files", 0),
            "chaos.hostile_beside_wrong": self.beside.get("wrong", 0),
            "chaos.hostile_beside_complaints": len(self.complaints),
            "chaos.hostile_sessions_left": self.left,
            "chaos.hostile_memory_growth_mb": self.growth_mb,
            "chaos.hostile_descriptors_growth": self.growth_descriptors,
        }


async def sent(
    port: int, triton: str, chosen: Iterator[tuple[int, Kind, Attack]], tally: Tally, at_a_time: int = AT_A_TIME
) -> None:
    """Send them all, so many at a time."""
    async with Sender(port, triton) as sender:

        async def worker() -> None:
            for number, kind, attack in chosen:
                began = time.monotonic()
                outcome = await sender.send(attack)
                tally.add(kind.name, number, outcome, time.monotonic() - began)

        await asyncio.gather(*(worker() for _ in range(at_a_time)))


async def onslaught(stage: Stage, seed: int, count: int, kinds: tuple[Kind, ...] = KINDS) -> Onslaught:
    """A well-behaved stream and a file go on beside it, and are compared with what offline decoding says."""
    found = Onslaught()
    health = await stage.health()
    triton = health["triton"]["url"]
    talk = (await prepared(stage.url, 1, seed))[0]
    beside, stop = Beside(stage.url, talk), asyncio.Event()
    # Whatever is imported or allocated once is there before it is counted.
    await sent(stage.port, triton, attacks(seed + 1, min(count, 200), kinds), Tally())
    before, starts, said = census(stage), stage.starts, _tracebacks(stage)
    good = [asyncio.create_task(one(stop)) for one in (beside.live, beside.files_again)]
    began = time.monotonic()
    try:
        await sent(stage.port, triton, attacks(seed, count, kinds), found.tally)
        found.seconds = time.monotonic() - began
    finally:
        stop.set()
        await asyncio.gather(*good)
    found.left = await _left(stage)
    after = census(stage)
    later = await stage.health()
    found.crashes = before.gone(after)
    if stage.starts != starts or later.get("healed") != health.get("healed"):
        found.crashes.append(f"healed: {later.get('healed')}, before: {health.get('healed')}")
    found.beside = await beside.judged(later["triton"]["url"])
    found.complaints = beside.errors
    found.tracebacks = _tracebacks(stage) - said
    found.growth = before.rows(after)
    found.growth_mb = _total(after, "memory_mb") - _total(before, "memory_mb")
    found.growth_descriptors = int(_total(after, "descriptors") - _total(before, "descriptors"))
    return found


async def _left(stage: Stage) -> int:
    """Live sessions once everybody has gone, as the frontend counts them."""
    left = 0
    deadline = time.monotonic() + QUIET_WITHIN_S
    while time.monotonic() < deadline:
        health = await stage.health()
        left = int(health.get("live_sessions", 0)) + int(health.get("active", 0))
        if not left:
            break
        await asyncio.sleep(0.5)
    return left


def _tracebacks(stage: Stage) -> Counter[str]:
    """The exceptions that the stage's logs tell of, each with its last line and the place where it was raised."""
    found: Counter[str] = Counter()
    for path in (stage.log_path, *stage.folder.glob("cache/**/*.log")):
        place, inside = "", False
        for line in path.read_text(errors="replace").splitlines():
            if "Traceback (most recent call last)" in line:
                place, inside = "", True
            elif inside and line.lstrip(" |+").startswith("File ") and ("/frontend/" in line or "/1/" in line):
                # Ours, which called what raised it.
                place = line.strip()
            elif inside and line[:1] not in (" ", "|", "+", ""):
                found[f"{line[:200]} ({place[-120:]})"] += 1
                inside = False
    return found


def _total(counted: Census, name: str) -> float:
    return float(sum(getattr(count, name) for count in counted.processes.values()))
