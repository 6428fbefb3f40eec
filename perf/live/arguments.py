"""What `python -m perf live` takes."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

PARTS = ("accuracy", "streams", "processor", "crowd", "endurance", "cost")
# The crowd wants some minutes and most of a machine: only where it is named.
USUAL = tuple(part for part in PARTS if part != "crowd")
# What clients send at a time; figures without a length are of the first.
CHUNKS_MS = (40, 20, 100)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--size", choices=["0.6b", "small"], default="0.6b", help="of the model whose steps are timed")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(USUAL), help="parts to measure")
    parser.add_argument(
        "--against",
        metavar="REVISION",
        help="measure this one in turns with the present one, each as a service of its own: the parts `processor` and "
        "`streams`, which then tells how many of them are held",
    )
    parser.add_argument("--chunk-ms", type=int, nargs="+", default=list(CHUNKS_MS), help="of the part `processor`")
    parser.add_argument("--crowd", type=int, default=1_000, metavar="SESSIONS", help="of the part `crowd`")
    parser.add_argument("--quick", action="store_true", help="a short run")
    parser.add_argument("--json", type=Path, help="write the figures here, as one flat object")
