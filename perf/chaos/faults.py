"""Faults as production has them, each done to the real stack and, where that is part of it, undone."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from perf.chaos.proxy import Proxy, Wire
from perf.chaos.stage import Stage, shared_memory

MODELS = ("vad", "features", "encoder", "decoder", "asr_stream")
# Two faults at once: of models that wait for each other, and of two that do not.
TOGETHER = (("decoder", "asr_stream"), ("vad", "encoder"))
# Those of which two processes serve beside each other.
PAIRS = ("encoder", "asr_stream")
# How long what is undone by itself lasts.
LASTS_S = 4.0
SLOW_S = 0.4


@dataclass(frozen=True)
class Fault:
    """name: as the table has it. models: that have to be healed by name. inject: does it, and returns when it is
    undone, where it is. anew: clients lose their connection and begin again: nothing of a session or file outlives the
    frontend that it was told to, and there is no token to go on with."""

    name: str
    inject: Callable[[Stage], Awaitable[None]]
    models: tuple[str, ...] = ()
    is_killed: bool = False
    # Healed by somebody who sees no processes, and is no part of what was started with them.
    is_afar: bool = False
    anew: bool = False
    # Nothing has to be seen of it but that nothing is lost.
    is_quiet: bool = False


def _signalled(victim: str, number: signal.Signals) -> Callable[[Stage], Awaitable[None]]:
    async def inject(stage: Stage) -> None:
        stage.process_of(victim).send_signal(number)

    return inject


def _paused(victim: str) -> Callable[[Stage], Awaitable[None]]:
    """Stopped for some seconds, then it goes on: a machine that swaps, a container that was frozen."""

    async def inject(stage: Stage) -> None:
        process = stage.process_of(victim)
        process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(LASTS_S)
        finally:
            process.send_signal(signal.SIGCONT)

    return inject


def _both(*faults: Callable[[Stage], Awaitable[None]]) -> Callable[[Stage], Awaitable[None]]:
    async def inject(stage: Stage) -> None:
        await asyncio.gather(*(fault(stage) for fault in faults))

    return inject


def _slow(model: str) -> Callable[[Stage], Awaitable[None]]:
    """Every call of the model takes SLOW_S longer, for some seconds."""

    async def inject(stage: Stage) -> None:
        file = stage.wedges / f"{model}.slow"
        file.write_text(str(SLOW_S))
        await asyncio.sleep(LASTS_S)
        file.unlink()

    return inject


def _wedged(model: str) -> Callable[[Stage], Awaitable[None]]:
    async def inject(stage: Stage) -> None:
        file = stage.wedges / model
        process = stage.process_of(model)
        file.write_text(str(process.pid))
        while not [other for other in stage.processes_of(model) if other.pid != process.pid]:
            await asyncio.sleep(0.05)
        # A watcher that sees it has killed it by now; for another one the wedge lasts, and Triton may wait for it.
        await asyncio.sleep(LASTS_S)
        file.unlink()

    return inject


async def _full_disk(stage: Stage) -> None:
    await _filled(stage.inside(stage.disk) / "filler")


async def _full_shared_memory(stage: Stage) -> None:
    await _filled(stage.inside(shared_memory()) / "filler")


async def _filled(filler: Path) -> None:
    """To the last byte, for some seconds."""
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 20))
    with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4_096))
    await asyncio.sleep(LASTS_S)
    filler.unlink()


def _clock(seconds: float) -> Callable[[Stage], Awaitable[None]]:
    async def inject(stage: Stage) -> None:
        stage.clock.write_text(str(seconds))
        await asyncio.sleep(LASTS_S)
        stage.clock.unlink()

    return inject


def embedded(stage: Stage) -> list[Fault]:
    """What can happen to a frontend and its embedded Triton."""
    faults = [
        Fault(f"SIGKILL {model}", _signalled(model, signal.SIGKILL), (model,), is_killed=True) for model in MODELS
    ]
    faults += [Fault(f"SIGSTOP {model}", _signalled(model, signal.SIGSTOP), (model,)) for model in MODELS]
    faults += [Fault(f"wedged {model}", _wedged(model), (model,)) for model in MODELS]
    faults += [Fault(f"slow {model}", _slow(model), is_quiet=True) for model in MODELS]
    faults += [
        Fault(
            f"SIGKILL {one} and {other}",
            _both(*(_signalled(model, signal.SIGKILL) for model in (one, other))),
            (one, other),
        )
        for one, other in TOGETHER
    ]
    faults += [
        Fault("SIGKILL triton", _signalled("triton", signal.SIGKILL)),
        Fault("SIGSTOP triton", _signalled("triton", signal.SIGSTOP)),
        Fault("SIGSTOP frontend for a while", _paused("frontend"), is_quiet=True),
        Fault("SIGSTOP triton for a while", _paused("triton"), is_quiet=True),
        Fault("SIGKILL frontend", _signalled("frontend", signal.SIGKILL), anew=True),
        Fault("clock an hour ahead", _clock(3_600.0), is_quiet=True),
        Fault("clock an hour back", _clock(-3_600.0), is_quiet=True),
    ]
    if stage.has_small_disks:
        faults += [
            Fault("full disk", _full_disk, is_quiet=True),
            Fault("full shared memory", _full_shared_memory, is_quiet=True),
        ]
    return faults


def of_pairs() -> list[Fault]:
    """What can happen to one of a model's two processes, whose sibling goes on answering."""
    return [
        Fault(f"{number.name} one of two {model}", _signalled(model, number), (model,), number is signal.SIGKILL)
        for model in PAIRS
        for number in (signal.SIGKILL, signal.SIGSTOP)
    ]


def between(proxy: Proxy) -> list[Fault]:
    """What can happen on the way from a frontend to a Triton elsewhere."""

    def wire(state: Wire) -> Callable[[Stage], Awaitable[None]]:
        async def inject(stage: Stage) -> None:
            proxy.set(state)
            await asyncio.sleep(LASTS_S)
            proxy.set(Wire.WHOLE)

        return inject

    return [Fault(f"wire {state.value}", wire(state), is_quiet=True) for state in Wire if state is not Wire.WHOLE]
