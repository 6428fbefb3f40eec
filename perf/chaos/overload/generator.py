"""The load generator: a process of its own that does as little as can be for a request, at low priority.

It shares the machine with what it measures. So the request is one array of bytes, made once; an answer is read, looked
at for its status and its text, and forgotten; and the process yields to the server wherever both want a core. What it
could not send in time it tells (lag), so that a load which was never offered is not taken for one that was withstood.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field

NICENESS = 10
# Connections that are open at a time: below what a process may have.
MOST_OPEN = 900
RIGHT, REFUSED, OTHER = "right", "refused", "other"


@dataclass
class Answers:
    """Seconds of each right answer and of each refusal, from the first byte sent to the last one read; words of
    everything else. lag_s: how late requests were sent. unsent: for want of connections."""

    seconds: float = 0.0
    right: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    without_retry_after: int = 0
    other: dict[str, int] = field(default_factory=dict)
    lag_s: list[float] = field(default_factory=list)
    unsent: int = 0

    @property
    def sent(self) -> int:
        return len(self.right) + len(self.refused) + sum(self.other.values())

    def add(self, answer: bytes, text: bytes, seconds: float) -> None:
        """Of one request: all bytes that came back."""
        head, _, body = answer.partition(b"\r\n\r\n")
        status = head[9:12]
        if status == b"200" and text in body:
            self.right.append(seconds)
        elif status in (b"429", b"503"):
            self.refused.append(seconds)
            self.without_retry_after += b"retry-after" not in head.lower()
        else:
            self.note(f"{status.decode('latin-1')} {body[:100].decode('utf-8', 'replace')}")

    def note(self, words: str) -> None:
        self.other[words] = self.other.get(words, 0) + 1


@dataclass(frozen=True)
class Target:
    """port on loopback; request: whole, the last of its connection; text: of a right answer; patience_s: a client's."""

    port: int
    request: bytes
    text: bytes
    patience_s: float = 20.0


async def ask(target: Target, answers: Answers) -> None:
    """One request on a connection of its own."""
    began = time.monotonic()
    answer = b""
    try:
        async with asyncio.timeout(target.patience_s):
            reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
            try:
                writer.write(target.request)
                # A refusal may come, and the connection end, before all of the body is sent.
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
                with contextlib.suppress(ConnectionError):
                    while data := await reader.read(65_536):
                        answer += data
            finally:
                writer.close()
    except TimeoutError:
        answers.note(f"nothing within {target.patience_s:g} s")
    except OSError as error:
        answers.note(f"no connection: {error.strerror}")
    else:
        answers.add(answer, target.text, time.monotonic() - began)


async def closed_loop(target: Target, clients: int, seconds: float) -> Answers:
    """So many clients, each of which asks again when it has its answer. Answers after the end do not count."""
    answers = Answers(seconds)
    end = time.monotonic() + seconds

    async def client() -> None:
        while time.monotonic() < end:
            one = Answers()
            await ask(target, one)
            if time.monotonic() < end:
                _merge(answers, one)
            if not one.right:
                # As told: later.
                await asyncio.sleep(0.5)

    await asyncio.gather(*(client() for _ in range(clients)))
    return answers


async def open_loop(target: Target, rate: float, seconds: float, most_open: int = MOST_OPEN) -> Answers:
    """So many requests a second, whatever becomes of those before."""
    answers = Answers(seconds)
    began = time.monotonic()
    under_way: set[asyncio.Task[None]] = set()
    for number in range(int(rate * seconds)):
        due = began + number / rate
        if (early := due - time.monotonic()) > 0:
            await asyncio.sleep(early)
        answers.lag_s.append(max(0.0, time.monotonic() - due))
        if len(under_way) >= most_open:
            answers.unsent += 1
            # Somebody has to read what came.
            await asyncio.sleep(0)
            continue
        task = asyncio.create_task(ask(target, answers))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
    # A right answer that comes later was not given in this time.
    for task in under_way:
        task.cancel()
    await asyncio.gather(*under_way, return_exceptions=True)
    return answers


def _merge(into: Answers, one: Answers) -> None:
    into.right += one.right
    into.refused += one.refused
    into.without_retry_after += one.without_retry_after
    for words, times in one.other.items():
        into.other[words] = into.other.get(words, 0) + times


async def elsewhere(target: Target, *, seconds: float, clients: int = 0, rate: float = 0.0) -> Answers:
    """The same in a process of its own: a closed loop of so many clients, or an open one of so many requests a second.
    Raises RuntimeError where it fails."""
    wanted = {"port": target.port, "text": target.text.decode(), "patience_s": target.patience_s}
    asked = json.dumps({**wanted, "seconds": seconds, "clients": clients, "rate": rate}).encode()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "perf.chaos.overload.generator",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        told, _ = await asyncio.wait_for(process.communicate(asked + b"\n" + target.request), seconds + 60)
    except BaseException:
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(f"the load generator ended with {process.returncode}")
    return Answers(**json.loads(told))


def main() -> int:
    """Read what is wanted, a line of json, and the request from stdin; write what was found to stdout."""
    os.nice(NICENESS)
    wanted = json.loads(sys.stdin.buffer.readline())
    target = Target(wanted["port"], sys.stdin.buffer.read(), wanted["text"].encode(), wanted["patience_s"])
    if wanted["clients"]:
        found = asyncio.run(closed_loop(target, wanted["clients"], wanted["seconds"]))
    else:
        found = asyncio.run(open_loop(target, wanted["rate"], wanted["seconds"]))
    print(json.dumps(asdict(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
