"""Who speaks: in composed conversations beside the truth, by a known scorer; and beside what transcription costs."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from pathlib import Path

from perf.results import kept, write_json
from perf.service import running_service

PARTS = ("truth", "cost", "hour")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to measure")
    parser.add_argument("--quick", action="store_true", help="a short run")
    parser.add_argument("--json", type=Path, help="write the figures here, as one flat object")


def run(arguments: Namespace) -> int:
    """Composed conversations of two to four people through the service: diarization error rate by pyannote.metrics
    (collar 0.25 s, overlap counted), whether the number of speakers is right, and whether known speakers are named
    right; the same with the true turns given. And what telling speakers apart costs beside a transcription at the 0.6B
    dimensions, and what an hour of talk leaves in the state."""
    figures = kept(arguments.json, "speakers.")
    if "cost" in arguments.only:
        from perf.speakers.cost import cost

        figures |= cost(quick=arguments.quick)
    if "hour" in arguments.only:
        from perf.speakers.cost import hour

        figures |= hour()
    if "truth" in arguments.only:
        from perf.speakers.truth import truth

        with running_service() as service:
            figures |= asyncio.run(truth(service.url, service.grpc_url(), 8 if arguments.quick else 60))
    for name, value in figures.items():
        print(f"{name:44}{value:12.4g}" if isinstance(value, float) else f"{name:44}{value:>12}")
    write_json(arguments.json, figures)
    return 0
