"""Speech from a manifest or a folder: to calibrate, compare and measure with."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.errors import ExportError
from frontend.audio.decoding import AudioError, decode

SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".mp4", ".webm"}
AUDIO_FIELDS = ("audio", "audio_filepath", "audio_path", "path", "file", "wav")
TEXT_FIELDS = ("text", "transcript", "transcription", "sentence")
MAX_S = 3_600.0


@dataclass(frozen=True)
class Spoken:
    """A sound file, and what is said in it and in which language, where that is known."""

    path: Path
    text: str | None = None
    language: str | None = None

    def pcm(self) -> NDArray[np.float32]:
        """Float32 [samples], 16 kHz mono. Raises ExportError where the file cannot be decoded."""
        try:
            with self.path.open("rb") as file:
                return decode(file, MAX_S)
        except (AudioError, OSError) as error:
            raise ExportError(f"{self.path}: {error}") from error


def read_speech(source: Path) -> list[Spoken]:
    """A .jsonl or .csv manifest (audio, text, language), a Kaldi folder (wav.scp, text), a LibriSpeech folder
    (*.trans.txt), or any folder of sound files with or without a .txt of the same name.

    Paths in manifests are relative to the manifest. Raises ExportError where there is nothing, or a line is wrong.
    """
    if not source.exists():
        raise ExportError(f"{source} does not exist")
    if source.is_dir():
        found = list(_kaldi(source) if (source / "wav.scp").is_file() else _folder(source))
    elif source.suffix in (".jsonl", ".json"):
        found = list(_rows(source, _json_rows(source)))
    elif source.suffix in (".csv", ".tsv"):
        with source.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, delimiter="\t" if source.suffix == ".tsv" else ",")
            found = list(_rows(source, enumerate(reader, 2)))
    else:
        raise ExportError(f"{source} is neither a folder nor a .jsonl, .csv or .tsv manifest")
    if not found:
        raise ExportError(f"{source} names no sound files")
    missing = next((one.path for one in found if not one.path.is_file()), None)
    if missing is not None:
        raise ExportError(f"{source} names {missing}, which does not exist")
    return found


def _json_rows(source: Path) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ExportError(f"{source}:{number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ExportError(f"{source}:{number} is not an object")
        yield number, row


def _rows(source: Path, rows: Iterator[tuple[int, dict[str, str]]] | enumerate[dict[str, str]]) -> Iterator[Spoken]:
    for number, row in rows:
        audio = next((row[name] for name in AUDIO_FIELDS if row.get(name)), None)
        if audio is None:
            raise ExportError(f"{source}:{number} has none of {', '.join(AUDIO_FIELDS)}")
        text = next((row[name] for name in TEXT_FIELDS if row.get(name) is not None), None)
        yield Spoken(source.parent / audio, text, row.get("language") or row.get("lang"))


def _kaldi(folder: Path) -> Iterator[Spoken]:
    texts = _pairs(folder / "text") if (folder / "text").is_file() else {}
    for name, audio in _pairs(folder / "wav.scp").items():
        yield Spoken(folder / audio, texts.get(name))


def _folder(folder: Path) -> Iterator[Spoken]:
    texts: dict[str, str] = {}
    for path in sorted(folder.rglob("*.trans.txt")):
        texts |= _pairs(path)
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            beside = path.with_suffix(".txt")
            yield Spoken(path, beside.read_text(encoding="utf-8").strip() if beside.is_file() else texts.get(path.stem))


def _pairs(path: Path) -> dict[str, str]:
    """`name rest of the line`, one a line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[-1] for line in lines if len(line.split()) > 1}
