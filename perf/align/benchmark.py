"""Word times: beside transformers', beside the truth, beside transcription, and behind a live final."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from pathlib import Path

from perf.results import kept, write_json
from perf.service import running_service

PARTS = ("truth", "cost", "delay")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to measure")
    parser.add_argument("--quick", action="store_true", help="a short run")
    parser.add_argument("--json", type=Path, help="write the figures here, as one flat object")


def run(arguments: Namespace) -> int:
    """Word times of the exported aligner and of tiny's: classes of time that differ from transformers', milliseconds
    from the truth of composed human speech, what an alignment costs beside a transcription at the 0.6B dimensions,
    and how much later a live final is whose words are asked for. 1 where a class differs."""
    figures = kept(arguments.json, "align.")
    if "cost" in arguments.only:
        from perf.align.cost import cost

        figures |= cost(quick=arguments.quick)
    if {"truth", "delay"} & set(arguments.only):
        with running_service() as service:
            url = service.health()["triton"]["url"]
            if "truth" in arguments.only:
                from perf.align.truth import truth

                figures |= asyncio.run(truth(url, 20 if arguments.quick else 100))
            if "delay" in arguments.only:
                from perf.align.delay import delay

                figures |= asyncio.run(delay(url, 6 if arguments.quick else 30))
    for name, value in figures.items():
        print(f"{name:44}{value:12.4g}" if isinstance(value, float) else f"{name:44}{value:>12}")
    write_json(arguments.json, figures)
    return 1 if figures.get("align.classes_differ") else 0
