"""python -m perf COMMAND: the demo and the benchmarks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m perf", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="start everything, transcribe a recording three ways, stop")
    asr = commands.add_parser("asr", help="throughput of the ensemble `asr` against itself and against transformers")
    for benchmark in (asr,):
        benchmark.add_argument("--quick", action="store_true", help="a short run")
        benchmark.add_argument("--json", type=Path, help="write the figures here, as one flat object")
    arguments = parser.parse_args()
    # Each command is imported alone: the demo needs no torch.
    if arguments.command == "demo":
        from perf.demo import demo

        return demo()
    from perf.asr import benchmark as benchmark_asr

    return benchmark_asr(quick=arguments.quick, json_path=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
