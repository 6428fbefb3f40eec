"""Diarization error rate by pyannote.metrics, run in that package's own environment: conversations on standard input,
one number on standard output."""

from __future__ import annotations

import json
import sys


def main() -> None:
    from pyannote.core import Annotation, Segment
    from pyannote.metrics.diarization import DiarizationErrorRate

    def annotation(rows: list[list[float | str]]) -> Annotation:
        made = Annotation()
        for number, (start, end, speaker) in enumerate(rows):
            made[Segment(float(start), float(end)), number] = str(speaker)
        return made

    # Of this package `collar` is the whole of what is left out around a boundary: 0.25 s on each side.
    metric = DiarizationErrorRate(collar=0.5, skip_overlap=False)
    for one in json.load(sys.stdin):
        metric(annotation(one["truth"]), annotation(one["told"]))
    parts = metric[:]
    print(
        json.dumps(
            {
                "rate": abs(metric),
                **{name: parts[name] for name in ("total", "confusion", "missed detection", "false alarm")},
            }
        )
    )


if __name__ == "__main__":
    main()
