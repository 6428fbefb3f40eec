"""One fault after the other under mixed traffic, with the ledger of each."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

from perf.chaos.faults import Fault
from perf.chaos.ledger import Balance, balance
from perf.chaos.stage import Stage
from perf.chaos.traffic import Talk, Traffic

# Ready for so long without a break is healed.
STEADY_S = 1.5
HEALS_WITHIN_S = 90.0
# A fault that is not seen to disturb anything within this time is over.
UNSEEN_S = 5.0
# Of the frontend's log, beside a fault that was not healed, in characters.
LOG_TOLD = 6_000


@dataclass(frozen=True)
class Round:
    """in_flight: sessions and files that were open as it happened. seen_s: until the frontend called itself not ready.
    heal_s: until it was ready for good. Both from the fault; None where it was never seen, or never healed."""

    fault: Fault
    in_flight: int
    seen_s: float | None
    heal_s: float | None
    books: Balance

    def row(self) -> dict[str, object]:
        books = self.books
        return {
            "fault": self.fault.name,
            "in flight": self.in_flight,
            "sent": books.entries,
            "answers": books.answers,
            "lost": books.lost,
            "doubled": books.doubled,
            "wrong": books.wrong,
            "begun anew": books.anew,
            "told to wait": books.told_to_wait,
            "seen s": self.seen_s and round(self.seen_s, 2),
            "healed s": self.heal_s and round(self.heal_s, 2),
        }


async def rounds(stage: Stage, talks: list[Talk], faults: list[Fault], seed: int) -> list[Round]:
    """Every fault once, in an order and at moments that the seed chooses."""
    found = []
    for fault, of_traffic, after_s in plan(faults, seed):
        one = await _round(stage, talks, fault, of_traffic, after_s)
        found.append(one)
        tell(one)
    return found


def tell(one: Round) -> None:
    """Its row, and what went wrong, as a line or some."""
    print(", ".join(f"{name} {'-' if value is None else value}" for name, value in one.row().items()), flush=True)
    for error in one.books.errors[:5]:
        print(f"    {error}", flush=True)


def plan(faults: list[Fault], seed: int) -> list[tuple[Fault, str, float]]:
    """The faults in their order, with the seed of the traffic around each, and the seconds until it happens. That seed
    is a text and never its hash, which is another one in every process."""
    rng = random.Random(seed)
    order = rng.sample(faults, len(faults))
    return [(fault, f"{seed} {number}", rng.uniform(1.0, 3.0)) for number, fault in enumerate(order)]


async def _round(stage: Stage, talks: list[Talk], fault: Fault, seed: str, after_s: float) -> Round:
    before = (await stage.health()).get("healed", {})
    starts, servers = stage.starts, _servers(stage)
    traffic = Traffic(stage.url, talks, seed=seed)
    traffic.start()
    await asyncio.sleep(after_s)
    in_flight = traffic.open
    began = time.monotonic()
    injecting = asyncio.ensure_future(fault.inject(stage))
    seen = ready_since = None
    try:
        while time.monotonic() - began < HEALS_WITHIN_S:
            asked = time.monotonic()
            health = await stage.health()
            now = time.monotonic()
            if health.get("status") != "ready":
                seen, ready_since = seen or now, None
            else:
                ready_since = ready_since or asked
            counts = health.get("healed", {})
            healed = all(counts.get(model, 0) > before.get(model, 0) for model in fault.models)
            # A death under load can end Triton as well; the one that is started instead has every model anew.
            healed = healed or not _servers(stage) <= servers
            if fault.anew:
                healed = stage.starts > starts
            over = injecting.done() and (seen or fault.is_quiet or fault.models or now - began > UNSEEN_S)
            if ready_since and healed and over and now - ready_since > STEADY_S:
                break
            await asyncio.sleep(0.02)
        else:
            ready_since = None
            print(f"    not healed: {health}\n{stage.log_path.read_text()[-LOG_TOLD:]}", flush=True)
    finally:
        injecting.cancel()
        await asyncio.gather(injecting, return_exceptions=True)
    entries = await traffic.stop()
    heal_s = None if ready_since is None else max(0.0, ready_since - began) if seen else 0.0
    seen_s = None if seen is None else seen - began
    return Round(fault, in_flight, seen_s, heal_s, balance(entries, fault.anew))


def _servers(stage: Stage) -> set[int]:
    return {process.pid for process in stage.processes_of("triton")}


def figures(found: list[Round]) -> Iterator[tuple[str, float | int | None]]:
    """What the ledgers say together; heal_s_max is of killed model processes, which have to be back soonest, and
    afar_heal_s_max of those that were healed by a watcher from elsewhere."""
    yield "chaos.faults", len(found)
    yield "chaos.lost", sum(one.books.lost for one in found)
    yield "chaos.doubled", sum(one.books.doubled for one in found)
    yield "chaos.wrong", sum(one.books.wrong for one in found)
    yield "chaos.answers", sum(one.books.answers for one in found)
    yield "chaos.never_healed", sum(one.heal_s is None for one in found)
    for name, is_afar in (("chaos.heal_s_max", False), ("chaos.afar_heal_s_max", True)):
        killed = [one for one in found if one.fault.is_killed and one.fault.is_afar is is_afar]
        yield name, max((one.heal_s for one in killed if one.heal_s is not None), default=None)
    yield "chaos.any_heal_s_max", max((one.heal_s for one in found if one.heal_s is not None), default=None)
