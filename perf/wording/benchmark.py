"""What becomes of a recognized text: names that were misheard, the written form, and what all of it adds to a final."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perf.results import kept, write_json
from perf.service import running_service
from perf.wording.overhead import overhead
from perf.wording.phonetic import phonetic
from perf.wording.written import written


def bias(quick: bool) -> dict[str, Any]:
    """Hotwords in the decoder, on a service of its own."""
    from perf.wording.bias import bias as measured

    with running_service() as service:
        return dict(asyncio.run(measured(service.health()["triton"]["url"], 60 if quick else 400)))


# Each gives its figures; quick: a short run.
PARTS: dict[str, Callable[[bool], dict[str, Any]]] = {
    "overhead": overhead,
    "phonetic": phonetic,
    "written": written,
    "bias": bias,
}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="parts to measure")
    parser.add_argument("--quick", action="store_true", help="a short run")
    parser.add_argument("--json", type=Path, help="write the figures here, as one flat object")


def run(arguments: Namespace) -> int:
    """The shares of misheard names that are found (recall) and of clean sentences in which something is replaced
    (false), of cases of the written form that are right, the milliseconds that the steps add to a final, and what
    hotwords in the decoder are worth. 1 where a share is worse than what is promised."""
    figures = kept(arguments.json, "wording.")
    for name, measure in PARTS.items():
        if name in arguments.only:
            figures |= measure(arguments.quick)
    for name, value in figures.items():
        print(f"{name:44}{value:12.4g}" if isinstance(value, float) else f"{name:44}{value:>12}")
    write_json(arguments.json, figures)
    return 0 if _is_as_promised(figures) else 1


def _is_as_promised(figures: dict[str, Any]) -> bool:
    return (
        figures.get("wording.phonetic_recall", 1) >= 0.8
        and figures.get("wording.phonetic_false", 0) <= 0.005
        and figures.get("wording.written_right", 1) >= 0.95
        and figures.get("wording.bias_false", 0) <= 0.01
        and figures.get("wording.bias_others_differ", 0) == 0
        and 1 - figures.get("wording.bias_recall", 1) <= 0.5 * (1 - figures.get("wording.bias_recall_off", 1))
    )
