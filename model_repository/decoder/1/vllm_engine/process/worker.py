"""vLLM's asynchronous engine as a process: started by the room with the Python that has vLLM, asked by messages.

worker.py FD FOLDER      the number of the socket that it inherits; what is removed when it ends

The first message names the engine's arguments; the answer says `ready`, or `failed` and why. Then each message is a
request (with its prompt's embeddings as bytes), or drops one, and answers tell tokens as they come. It ends when the
socket does, and takes all processes of its group along.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import signal
import socket
import sys
import threading
import time
from contextlib import aclosing, suppress
from dataclasses import fields
from typing import Any

import asr_language_model
import frames

# How often the room is looked for.
ROOM_S = 1.0


class Served:
    """The requests of one engine."""

    def __init__(self, llm: Any, counts: Any, writer: asyncio.StreamWriter) -> None:
        self._llm, self._counts, self._writer = llm, counts, writer
        self._running: dict[str, asyncio.Task[None]] = {}
        # Told together: those of one step, which come one right after the other.
        self._untold: list[list[Any]] = []

    def take(self, message: dict[str, Any], payload: bytes) -> None:
        if "drop" in message:
            if (task := self._running.get(message["drop"])) is not None:
                task.cancel()
            return
        name = message["name"]
        self._running[name] = asyncio.create_task(self._answer(name, message, payload))

    async def _answer(self, name: str, message: dict[str, Any], payload: bytes) -> None:
        # They were there when it started.
        import torch
        from vllm import SamplingParams
        from vllm.inputs.engine import embeds_input
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            rows = torch.frombuffer(bytearray(payload), dtype=getattr(torch, message["dtype"])).view(message["shape"])
            params = SamplingParams(**message["sampling"], output_kind=RequestOutputKind.DELTA)
            answers = self._llm.generate(embeds_input(rows), params, name, priority=message["priority"])
            async with aclosing(answers):
                async for output in answers:
                    self._tell([name, *_tokens(output)])
        except EngineDeadError:
            end()
        except Exception as error:
            self._tell([name, [], [], 0.0, f"error: {error}"])
        finally:
            self._running.pop(name, None)

    def _tell(self, answer: list[Any]) -> None:
        if not self._untold:
            asyncio.get_running_loop().call_soon(self._flush)
        self._untold.append(answer)

    def _flush(self) -> None:
        answers, self._untold = self._untold, []
        try:
            frames.write(self._writer, {"answers": answers, "counts": self._counts.told()})
        except Exception as error:
            # Who waits for these would wait for ever: the room is to start another one.
            print(f"what vLLM answers cannot be told: {error!r}", file=sys.stderr)
            end()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    message, _ = await frames.read(reader)
    try:
        llm, counts, ready = started(message["arguments"], message["device"])
    except Exception as error:
        frames.write(writer, {"failed": f"{type(error).__name__}: {error}"})
        await writer.drain()
        return
    served = Served(llm, counts, writer)
    frames.write(writer, {"ready": ready})
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            served.take(*await frames.read(reader))


def started(arguments: dict[str, Any], device: str) -> tuple[Any, Any, dict[str, Any]]:
    """An engine that is ready, its counts, and what the room wants to know of it. Raises ValueError where it does not
    know an argument, or computes on another kind of device, and what vLLM raises."""
    try:
        from vllm.engine.arg_utils import AsyncEngineArgs
    except ModuleNotFoundError as error:
        raise ValueError(f"vLLM cannot be imported by {sys.executable}: {error}") from None
    from vllm.platforms import current_platform
    from vllm.v1.engine.async_llm import AsyncLLM

    # What each request needs: another version may have it elsewhere.
    for module in ("vllm.inputs.engine", "vllm.sampling_params", "vllm.v1.engine.exceptions"):
        importlib.import_module(module)
    asr_language_model.register()
    if current_platform.device_type != device:
        raise ValueError(f"device is {device}, but this vLLM computes on {current_platform.device_type}")
    known = {one.name for one in fields(AsyncEngineArgs)}
    if unknown := sorted(set(arguments) - known):
        raise ValueError(f"vllm_arguments names {', '.join(unknown)}, which this vLLM does not know")
    counts = _counts()
    llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments), stat_loggers=[lambda *_: counts])
    cache, model = llm.vllm_config.cache_config, llm.vllm_config.model_config
    counts.capacity = int((cache.num_gpu_blocks or 0) * cache.block_size)
    ready = {
        "max_tokens": model.max_model_len,
        "capacity": counts.capacity,
        "dtype": str(model.dtype).removeprefix("torch."),
    }
    return llm, counts, ready


def _counts() -> Any:
    from vllm.v1.metrics.loggers import StatLoggerBase

    class Counts(StatLoggerBase):
        """What vLLM tells of each step, since the start."""

        def __init__(self, vllm_config: Any = None, engine_index: int = 0) -> None:
            self.steps = self.computed_tokens = self.capacity = 0
            self.usage = 0.0

        def record(self, scheduler_stats: Any, iteration_stats: Any, *_: Any, **__: Any) -> None:
            if scheduler_stats is not None:
                self.usage = scheduler_stats.kv_cache_usage
            if iteration_stats is not None:
                self.steps += 1
                prompts = iteration_stats.prompt_token_stats.computed
                self.computed_tokens += prompts + iteration_stats.num_generation_tokens

        def log_engine_initialized(self) -> None:
            pass

        def told(self) -> dict[str, float]:
            kv_tokens = round(self.usage * self.capacity)
            return {"steps": self.steps, "computed_tokens": self.computed_tokens, "kv_tokens": kv_tokens}

    return Counts()


def _tokens(output: Any) -> tuple[list[int], list[float], float, str]:
    one, metrics = output.outputs[0], output.metrics
    ids = list(one.token_ids)
    # A table for each place, of the token that was chosen alone.
    logprobs = [places[token].logprob for token, places in zip(ids, one.logprobs or (), strict=True)]
    started_at = metrics.scheduled_ts if metrics is not None else 0.0
    return ids, logprobs, started_at, str(one.finish_reason or "") if output.finished else ""


def end() -> None:
    """This process and all that it has started, now: vLLM's own end may take longer than a room has."""
    shutil.rmtree(sys.argv[2], ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def end_with(parent: int) -> None:
    """The end of the room while vLLM starts, which holds up whoever reads the socket."""
    while os.getppid() == parent:
        time.sleep(ROOM_S)
    end()


async def main(number: int) -> None:
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=number))
    await serve(reader, writer)


if __name__ == "__mp_main__":
    # vLLM's own processes import this file, as those that are spawned do of whoever spawns them.
    asr_language_model.register()
if __name__ == "__main__":
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    try:
        asyncio.run(main(int(sys.argv[1])))
    finally:
        end()
