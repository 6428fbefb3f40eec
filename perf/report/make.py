"""All parts in order."""

from __future__ import annotations

import time
from pathlib import Path

from perf.peers.environments import prepare
from perf.report import peers, planning, serving
from perf.report.page import Report
from perf.results import machine
from perf.service import running_service


def make_report(folder: Path, quick: bool) -> int:
    """Write report.md, report.json and plots into `folder`."""
    started = time.monotonic()
    page = Report(folder)
    about = ", ".join(f"{name.removeprefix('machine.')} {value}" for name, value in machine().items())
    page.add(
        f"# What it does, measured\n\nOn {about}, {time.strftime('%Y-%m-%d')}. Accuracy and serving: the tiny "
        "checkpoint through the real Triton; the cost of a step: random weights. Ratios are of one run, side by side."
    )
    try:
        prepare()
        with running_service() as service:
            grpc = service.health()["triton"]["url"]
            page.part("Memory", lambda: serving.memory(page, service))
            page.part("perf_analyzer", lambda: serving.triton_analyzer(page, grpc, quick))
            page.part("HTTP", lambda: serving.http_load(page, service.url, 2.0))
            page.part("Peers: live", lambda: peers.live_designs(page, grpc, service.pid, quick))
            page.part("Live capacity", lambda: serving.live_capacity(page, service.url, 8.0))
            page.part("Live streams under bulk load", lambda: serving.under_bulk(page, service.url, 1 if quick else 2))
            page.part("Accuracy", lambda: serving.accuracy(page, grpc, 30 if quick else 120))
            page.part("Peers: files", lambda: peers.files(page, grpc, 2 if quick else 4))
        page.part("Cost of a live step", lambda: peers.live_step(page, quick))
        page.part("Peers: engines", lambda: peers.engines(page, quick))
        page.part("Cost model", lambda: planning.planning(page))
        page.part("Kept figures", planning.kept_figures)
    except KeyboardInterrupt:
        page.add("(interrupted)")
    page.add(f"Made in {(time.monotonic() - started) / 60:.0f} minutes by `make bench-report`.")
    print(f"{folder / 'report.md'}")
    return 0
