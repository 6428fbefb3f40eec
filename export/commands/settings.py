"""The command that tells a model's parameters."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from export.rooms import room

PYTHON_ROOMS = ("vad", "features", "encoder", "decoder", "asr_stream", "aligner", "speakers")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", choices=PYTHON_ROOMS)


def settings(arguments: Namespace) -> bool:
    """The parameters of a model: defaults, bounds and what they do."""
    print(room(arguments.model, "parameters").Parameters.described())
    return False
