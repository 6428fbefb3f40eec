"""python -m frontend.workers.worker: one of several processes that serve; its master starts it.

What it is to do comes as JSON by standard input: see Orders. SIGTERM, or the end of its master, ends it in order.
"""

from __future__ import annotations

import json
import mmap
import signal
import socket
import sys
from dataclasses import asdict, dataclass

import prometheus_client.values
import uvloop

from frontend.settings import Settings


@dataclass(frozen=True)
class Orders:
    """row: which of `processes` it is. socket, memory, channel: numbers of open files: what listens, the service's
    counts, and the way to the master. keys: hashes of the API keys, as hexadecimal digits."""

    row: int
    processes: int
    socket: int
    memory: int
    channel: int
    keys: list[str]

    def as_json(self) -> str:
        return json.dumps(asdict(self))


async def run(orders: Orders, settings: Settings) -> int:
    """Serve; returns the exit code."""
    # Metrics of these modules are made as this process's own, which is known by now.
    from frontend.app import create_app
    from frontend.guard.counts import ACTIVE, Counts
    from frontend.guard.keys import Keys
    from frontend.server import serve
    from frontend.workers.channel import Channel
    from frontend.workers.following import FollowingBackend
    from frontend.workers.part import Part

    channel = await Channel.over(socket.socket(fileno=orders.channel))
    keys = Keys([bytes.fromhex(one) for one in orders.keys])
    size = Counts.size(keys.num_clients, orders.processes)
    counts = Counts(keys.num_clients, orders.processes, orders.row, mmap.mmap(orders.memory, size))
    active = counts.count(ACTIVE)
    part = Part(keys, counts, orders.processes, lambda settings: FollowingBackend(settings, channel, active))

    async def begun(_: str) -> None:
        channel.tell(serving=True)

    return await serve(create_app(settings, part), settings, begun, [socket.socket(fileno=orders.socket)])


def main() -> int:
    # The terminal's Ctrl-C is the master's, which says when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders = Orders(**json.load(sys.stdin))
    # A worker that is started again goes on in the files of the one before, so that they stay as few as workers.
    prometheus_client.values.ValueClass = prometheus_client.values.MultiProcessValue(lambda: orders.row)
    settings = Settings()

    from frontend.observe import logs

    logs.install(settings.log_level, as_json=settings.log_json)
    return uvloop.run(run(orders, settings))


if __name__ == "__main__":
    sys.exit(main())
