"""Lines before models whose processes cannot be seen: one that moves, and one where each in turn is told of a death.

Triton asks a dead process for a second for every request in line, and a question of ours would stand behind them all.
"""

from __future__ import annotations

import asyncio

from frontend.triton import probes
from frontend.triton.client import TritonClient
from frontend.triton.probes import Answer

# Between two looks at the statistics, while a question has no answer.
LOOK_S = 0.5
# One may be some request's own mistake.
MOST_FAILURES = 2
# Those that compute for a moment, or not at all, for whatever is before a question. Others may be busy with one
# computation while some that wait for the next one are taken back, which counts as failed as well.
QUICK = (*probes.SOON, *probes.AT_ONCE)


async def ask(
    client: TritonClient,
    name: str,
    timeout_s: float,
    stall_s: float,
    state_s: float,
    tell: probes.Tell = lambda *_: None,
) -> Answer:
    """What a model says to a small question, or `lost` as soon as the requests before it fail and none is computed."""
    asking = asyncio.ensure_future(probes.probe(client.stub, name, timeout_s, stall_s, tell))
    try:
        before: tuple[int, int] | None = None
        while not (await asyncio.wait([asking], timeout=LOOK_S))[0]:
            if probes.kind_of(name) not in QUICK or (now := await client.counts(name, state_s)) is None:
                continue
            if before is None or now[0] != before[0]:
                before = now
            elif now[1] - before[1] >= MOST_FAILURES:
                return Answer.LOST
        return asking.result()
    finally:
        asking.cancel()
