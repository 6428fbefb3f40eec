"""What responses cost the process that runs the decoder's steps: its processor time for a token, by how many go out."""

from __future__ import annotations

import asyncio
import tempfile
import time
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tritonclient.grpc.aio as triton

from export.rooms import MODEL_REPOSITORY
from export.sizing.dimensions import read_dimensions
from perf.live.processes import SERVER, part_of
from perf.loads.load import table
from perf.repository import change
from perf.results import write_json
from perf.service import Service, running_service

TIMEOUT_S = 300.0
SHORT, LONG = "10", "100"


@dataclass(frozen=True)
class Way:
    """How answers go out: a response at most every `interval_ms`, or one at the end; all outputs, or some."""

    key: str
    name: str
    interval_ms: str
    parameters: dict[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()


WAYS = (
    Way("every_10ms", "every 10 ms, six tensors", SHORT),
    Way("every_100ms", "every 100 ms, six tensors", LONG),
    Way("at_end", "one at the end, three tensors", LONG, {"deltas": False}, ("TOKEN_IDS", "FINAL", "RESULT")),
)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--sequences", type=int, default=64, help="at a time")
    parser.add_argument("--tokens", type=int, default=200, help="of each answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here, as one flat object")


def run(arguments: Namespace) -> int:
    """Processor time of the decoder's process, and of Triton's, for a token, with many sequences of the exported
    checkpoint (use tiny: its steps are short). The steps are in it, the same in every row: the rest is responses."""
    spent: dict[str, list[tuple[float, float, float]]] = {}
    for _ in range(arguments.rounds):
        for interval_ms in (SHORT, LONG):
            with tempfile.TemporaryDirectory() as folder:
                change(Path(folder), "decoder", stream_interval_ms=interval_ms)
                with running_service(ASR_MODEL_REPOSITORY=folder, ASR_MODEL_CONFIG_NAME="default") as service:
                    for way in WAYS:
                        if way.interval_ms == interval_ms:
                            one = asyncio.run(_measured(service, way, arguments.sequences, arguments.tokens))
                            spent.setdefault(way.key, []).append(one)
    rows: list[dict[str, Any]] = []
    figures: dict[str, Any] = {}
    for way in WAYS:
        decoder_us, triton_us, per_token = (float(np.median(one)) for one in zip(*spent[way.key], strict=True))
        rows.append(
            {"responses": way.name, "a token": per_token, "decoder us a token": decoder_us, "triton us": triton_us}
        )
        figures |= {f"responses.{way.key}_decoder_us": decoder_us, f"responses.{way.key}_triton_us": triton_us}
    print(table(rows))
    write_json(arguments.json, figures)
    return 0


async def _measured(service: Service, way: Way, sequences: int, tokens: int) -> tuple[float, float, float]:
    """Microseconds of the decoder's process and of Triton's for a token, and responses for a token."""
    decoder, server = _processes(service)
    async with triton.InferenceServerClient(service.health()["triton"]["url"]) as client:
        checkpoint = read_dimensions(MODEL_REPOSITORY / "decoder" / "1" / "checkpoint", "exported")
        shape = (1, 104, checkpoint.decoder.hidden_size)
        rows = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        await _answers(client, way, rows, 4, tokens)
        before = [_cpu_s(one) for one in (decoder, server)]
        responses = await _answers(client, way, rows, sequences, tokens)
        spent = [_cpu_s(one) - start for one, start in zip((decoder, server), before, strict=True)]
    count = sequences * tokens
    return 1e6 * spent[0] / count, 1e6 * spent[1] / count, responses / count


async def _answers(client: Any, way: Way, rows: Any, sequences: int, tokens: int) -> int:
    """Ask so many at once; the number of responses. Raises what Triton answers."""
    inputs = [
        triton.InferInput("EMBEDDINGS", list(rows.shape), "FP32"),
        triton.InferInput("FRAMES", [1, 1], "INT32"),
    ]
    inputs[0].set_data_from_numpy(rows)
    inputs[1].set_data_from_numpy(np.array([[800]], dtype=np.int32))
    # Sampled, so that no answer loops.
    fixed = {"min_new_tokens": tokens, "max_new_tokens": tokens, "temperature": 1.0, "repetition_guard": False}
    finished = asyncio.Event()

    async def requests() -> Any:
        for number in range(sequences):
            yield {
                "model_name": "decoder",
                "inputs": inputs,
                "outputs": [triton.InferRequestedOutput(name) for name in way.outputs] or None,
                "parameters": {**fixed, "seed": number, **way.parameters},
            }
        await finished.wait()

    responses = finals = 0
    deadline = time.monotonic() + TIMEOUT_S
    async for result, error in client.stream_infer(requests(), stream_timeout=TIMEOUT_S):
        if error is not None:
            raise error
        responses += 1
        finals += bool(result.as_numpy("FINAL")[0])
        if finals == sequences or time.monotonic() > deadline:
            finished.set()
            break
    return responses


def _processes(service: Service) -> tuple[psutil.Process, psutil.Process]:
    found = {}
    for process in psutil.Process(service.pid).children(recursive=True):
        found[part_of(process.cmdline())] = process
    return found["decoder"], found[SERVER]


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
