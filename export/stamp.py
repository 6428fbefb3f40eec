"""export.json beside the decoder's weights: what was exported, from where, by which format of the exporter.

`python -m export ensure` reads it on every start, so nothing here imports more than the standard library.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from export.errors import ExportError
from export.files import staged

# To be raised by one whenever the files that an export writes change, so that what is there is exported again.
FORMAT = 1
# Formats that today's rooms read as well: 0 is what was written before formats were numbered, the files of 1.
READABLE = frozenset({0, FORMAT})
FILE = "export.json"
ROOT = Path(__file__).resolve().parent.parent
# Of a checkpoint, beside its weights, what ends up in an export.
TEXTS = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
)


@dataclass(frozen=True)
class Stamp:
    """What is exported.

    name: served under it. source: a hub id as it was asked for, or a folder; empty in stamps without a format, which
    older exporters wrote. revision: the hub's commit. marks: of the weight files, size, times and inode, as in git's
    index: as long as they stay, the gigabytes need not be read again.
    """

    name: str
    weights_sha256: str
    source: str = ""
    revision: str | None = None
    texts_sha256: str = ""
    marks: dict[str, list[int]] = field(default_factory=dict)
    format: int = 0

    def write(self, folder: Path) -> None:
        (folder / FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @staticmethod
    def read(folder: Path) -> Stamp | None:
        """The stamp of a decoder's checkpoint folder; None where there is none, or none that can be read."""
        try:
            found = json.loads((folder / FILE).read_text(encoding="utf-8"))
            return Stamp(**{name: found[name] for name in Stamp.__dataclass_fields__ if name in found})
        except (OSError, ValueError, TypeError):
            return None

    def is_of(self, folder: Path) -> bool:
        """Whether the checkpoint in `folder` has these weights and these texts."""
        if self.texts_sha256 != texts_sha256(folder):
            return False
        return (bool(self.marks) and self.marks == marks(folder)) or self.weights_sha256 == weights_sha256(folder)


def stamp_of(folder: Path, asked: str, revision: str | None) -> Stamp:
    """The stamp for an export of the checkpoint in `folder`, in today's format."""
    return Stamp(
        name=name_of(folder),
        weights_sha256=weights_sha256(folder),
        source=asked if revision else source_of(folder),
        revision=revision,
        texts_sha256=texts_sha256(folder),
        marks=marks(folder),
        format=FORMAT,
    )


def name_of(folder: Path) -> str:
    """What a checkpoint is called: its folder, or the repository of a hub's snapshot."""
    for part in folder.parts:
        if part.startswith("models--"):
            return part.split("--")[-1]
    return folder.resolve().name


def source_of(folder: Path) -> str:
    """A folder's path, relative where it belongs to the project, so that a clone may be moved."""
    folder = folder.expanduser().resolve()
    return str(folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder)


def folder_of(source: str) -> Path:
    """The other way round."""
    return ROOT / source


def renew_marks(stamp: Stamp, decoder: Path, folder: Path) -> None:
    """Remember the weights in `folder` as those of the stamp, where they were compared and are. One that cannot be
    written costs the next start that comparison again."""
    if stamp.marks != marks(folder):
        try:
            with staged(decoder / FILE) as made:
                Stamp(**{**asdict(stamp), "marks": marks(folder)}).write(made)
        except ExportError:
            return


def marks(folder: Path) -> dict[str, list[int]]:
    found = {path.name: path.stat() for path in sorted(folder.glob("*.safetensors"))}
    return {name: [one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino] for name, one in found.items()}


def weights_sha256(folder: Path) -> str:
    """Over the weight files in order: seconds for gigabytes."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            while part := file.read(1 << 24):
                digest.update(part)
    return digest.hexdigest()


def texts_sha256(folder: Path) -> str:
    """Over names and contents of configuration, tokenizer and template."""
    digest = hashlib.sha256()
    for name in TEXTS:
        if (folder / name).is_file():
            digest.update(f"{name} {hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
