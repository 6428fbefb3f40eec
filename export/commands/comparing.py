"""Commands that compare engines on speech."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from export.errors import ExportError

if TYPE_CHECKING:
    from export.speech import Spoken

# Our own recordings: beside the package where it runs from its sources, below the current folder where it is installed
# elsewhere (the exporter's image keeps them in its working directory).
RECORDINGS = (Path(__file__).resolve().parents[2] / "perf" / "recordings", Path("perf") / "recordings")


def speech_of(arguments: Namespace) -> list[Spoken]:
    """What --speech names, or our own recordings. Raises ExportError where there are none."""
    from export.speech import read_speech

    if arguments.speech is not None:
        return read_speech(arguments.speech)
    found = next((folder for folder in RECORDINGS if folder.is_dir()), None)
    if found is None:
        raise ExportError("perf/recordings is not here: name a folder of sound files, or a manifest, with --speech")
    return read_speech(found)


def verify(arguments: Namespace) -> None:
    """Engines side by side on speech: differences, tokens, words and speed."""
    # Told before a checkpoint is downloaded.
    speech = speech_of(arguments)[: arguments.clips]
    from export.checkpoint import Checkpoint
    from export.hub import resolve
    from export.verify import parity_table, verify_engines

    parities = verify_engines(arguments.engines, Checkpoint(resolve(arguments.checkpoint).folder), speech)
    print(parity_table(arguments.engines, parities))
    worst = min(one.token_agreement for one in parities)
    if worst < arguments.agreement:
        raise ExportError(
            f"only {100 * worst:.2f} % of the tokens agree; {100 * arguments.agreement:g} % are asked for"
        )


def advise(arguments: Namespace) -> None:
    """Every precision and quantization of encoder and decoder on your speech, and which of them to use."""
    speech = speech_of(arguments)[: arguments.clips]
    from export.advice import advise as report
    from export.checkpoint import Checkpoint
    from export.hub import resolve

    print(report(Checkpoint(resolve(arguments.checkpoint).folder), speech))
