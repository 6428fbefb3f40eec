"""Commands as a user can type them where the advice is read."""

from __future__ import annotations

import os
from pathlib import Path

from export.rooms import MODEL_REPOSITORY

# How this package is called from where the user sits; images set it, because advice inside of them is for their host.
VARIABLE = "ASR_EXPORT_COMMAND"


def export_command(*words: str) -> str:
    """`python -m export WORDS`, or what the variable ASR_EXPORT_COMMAND says instead, in backquotes."""
    return f"`{' '.join([os.environ.get(VARIABLE) or 'python -m export', *words])}`"


def place_words(folder: Path) -> list[str]:
    """What names a version folder of an encoder or decoder: --fast, --version 2, --repository.

    The repository is left out where commands are typed on the host of a container, which mounts it elsewhere.
    """
    repository, room, version = folder.parents[1], folder.parent.name, folder.name
    words = ["--fast"] if room.endswith("_fast") else []
    if version != "1":
        words += ["--version", version]
    if not os.environ.get(VARIABLE) and repository.resolve() != MODEL_REPOSITORY:
        words += ["--repository", str(repository)]
    return words
