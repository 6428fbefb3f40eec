"""python -m export COMMAND: make what the rooms of the model repository load."""

from __future__ import annotations

import argparse
import logging
import sys
import time

from export.commands import COMMANDS
from export.errors import ExportError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (help_text, add_arguments, run) in COMMANDS.items():
        command = commands.add_parser(name, help=help_text, description=run.__doc__)
        add_arguments(command)
        command.set_defaults(run=run)
    arguments = parser.parse_args()
    # The exporter and its libraries talk much; what matters is printed here.
    logging.disable(logging.WARNING)
    started = time.monotonic()
    try:
        had_work = arguments.run(arguments) is not False
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if had_work:
        print(f"done in {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
