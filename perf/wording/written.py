"""The written form beside a table of what is said and what should be written."""

from __future__ import annotations

from typing import Any

from frontend.wording.edits import applied
from frontend.wording.written import written_form
from perf.wording.tables import rows


def written(_: bool) -> dict[str, Any]:
    """Every case of `written.tsv`: what is to change, and what is to stay. Those that are wrong are shown."""
    right: dict[str, list[bool]] = {}
    for language, said, expected in rows("written"):
        became = applied(said, written_form(said, language))
        right.setdefault(language, []).append(became == expected)
        if became != expected:
            print(f"{language}: {said!r} became {became!r}, not {expected!r}")
    every = [one for cases in right.values() for one in cases]
    return {
        **{f"wording.written_right_{name.lower()}": sum(cases) / len(cases) for name, cases in right.items()},
        "wording.written_cases": len(every),
        "wording.written_right": sum(every) / len(every),
    }
