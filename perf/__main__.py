"""python -m perf COMMAND: the demo and the benchmarks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from perf.live.arguments import add_arguments as add_live_arguments
from perf.loads.commands import COMMANDS as LOADS
from perf.loads.commands import Command, guarded
from perf.results import NoFigures, check_json


def _on_the_servers_machine() -> dict[str, Command]:
    """What looks at the server's own processes; whoever only sends sound need not have the packages for it."""
    try:
        from perf.align import benchmark as align
        from perf.chaos import benchmark as chaos
        from perf.parts import responses, vllm
        from perf.replicas import benchmark as replicas
        from perf.speakers import benchmark as speakers
        from perf.wording import benchmark as wording
    except ModuleNotFoundError:
        return {}
    return {
        "align": ("word times: right, costly, late", align.add_arguments, align.run),
        "speakers": ("who speaks: right, and at what cost", speakers.add_arguments, speakers.run),
        "wording": ("what is recognized as it is written: right, and at what cost", wording.add_arguments, wording.run),
        "vllm": ("vLLM as the decoder's engine beside ours", vllm.add_arguments, vllm.run),
        "responses": ("what the decoder's responses cost its process", responses.add_arguments, responses.run),
        "replicas": ("several Tritons: one killed, each drained, how even", replicas.add_arguments, replicas.run),
        "chaos": ("faults under load, and a ledger of what was sent and answered", chaos.add_arguments, chaos.run),
    }


COMMANDS: dict[str, Command] = {**LOADS, **_on_the_servers_machine()}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m perf", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="start everything, transcribe a recording four ways, stop")
    asr = commands.add_parser("asr", help="throughput of the ensemble `asr` against itself and against transformers")
    decoder = commands.add_parser("decoder", help="the decoder's engine with random weights in the true dimensions")
    decoder.add_argument("--size", choices=["0.6b", "small"], default="0.6b")
    decoder.add_argument("--device", default="cpu")
    decoder.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    decoder_parts = ("batching", "transformers", "live_step", "under_bulk", "dispatch", "weights")
    decoder.add_argument(
        "--only", nargs="+", choices=decoder_parts, default=list(decoder_parts), help="parts to measure"
    )
    live = commands.add_parser("live", help="live transcription: exactness, what a stream costs, streams at once")
    add_live_arguments(live)
    frontend = commands.add_parser(
        "frontend", help="the frontend beside direct gRPC, at rest, at start, on a long file"
    )
    encoder = commands.add_parser("encoder", help="the encoder's engines: exactness, speed, tokens, cost of an export")
    encoder.add_argument("--size", choices=["0.6b", "1.7b", "small"], default="0.6b")
    encoder_parts = ("tiny", "speed", "exports", "gpu")
    encoder.add_argument(
        "--only", nargs="+", choices=encoder_parts, default=list(encoder_parts), help="parts to measure"
    )
    for benchmark in (asr, decoder, frontend, encoder):
        benchmark.add_argument("--quick", action="store_true", help="a short run")
        benchmark.add_argument("--json", type=Path, help="write the figures here, as one flat object")
    for name, (summary, add_arguments, run) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=run.__doc__)
        add_arguments(command)
        command.set_defaults(run=run)
    report = commands.add_parser("report", help="everything on one page, with plots: perf/out/report.md")
    report.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "out")
    report.add_argument("--quick", action="store_true", help="a short run")
    arguments = parser.parse_args()
    try:
        check_json(getattr(arguments, "json", None))
    except NoFigures as error:
        print(f"error: {error}")
        return 1
    if arguments.command in COMMANDS:
        return guarded(arguments.run, arguments)
    if arguments.command == "report":
        from perf.report.make import make_report

        return make_report(arguments.out, arguments.quick)
    # Each command is imported alone: the demo needs no torch.
    if arguments.command == "demo":
        from perf.demo import demo

        return demo()
    if arguments.command == "decoder":
        from perf.parts.decoder import benchmark as benchmark_decoder

        return benchmark_decoder(
            arguments.quick, arguments.json, arguments.size, arguments.device, arguments.dtype, arguments.only
        )
    if arguments.command == "live":
        from perf.live.benchmark import run as benchmark_live

        return guarded(benchmark_live, arguments)
    if arguments.command == "encoder":
        from perf.parts.encoder import benchmark as benchmark_encoder

        return benchmark_encoder(arguments.quick, arguments.json, arguments.size, arguments.only)
    if arguments.command == "frontend":
        from perf.parts.frontend import benchmark as benchmark_frontend

        return benchmark_frontend(arguments.quick, arguments.json)
    from perf.parts.asr import benchmark as benchmark_asr

    return benchmark_asr(quick=arguments.quick, json_path=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
