"""Advisories in OSV's form, from a dump on disk: which of them mean a package that is installed."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

ECOSYSTEM = "PyPI"


class NoAdvisories(RuntimeError):
    """There is nothing to compare with; the message says why."""


@dataclass(frozen=True)
class Finding:
    """A package that is installed in a version that an advisory names. fixed: versions that are not meant any more."""

    package: str
    version: str
    advisory: str
    summary: str
    fixed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dump:
    """count: advisories of Python packages; newest: the day of the last change in them."""

    findings: list[Finding]
    count: int
    newest: str


def normal(name: str) -> str:
    """A package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def compare(path: Path, installed: dict[str, str]) -> Dump:
    """Look every package (name: version) up in a dump: a zip file, such as OSV's PyPI/all.zip, or a folder of json.

    Raises NoAdvisories where it cannot be read, or holds none: nothing found in nothing says nothing.
    """
    versions = {normal(name): version for name, version in installed.items()}
    findings, count, newest = [], 0, ""
    for advisory in _advisories(path):
        affected = [one for one in advisory.get("affected", []) if one.get("package", {}).get("ecosystem") == ECOSYSTEM]
        if not affected or "withdrawn" in advisory:
            continue
        count, newest = count + 1, max(newest, str(advisory.get("modified", ""))[:10])
        for one in affected:
            name = normal(one["package"]["name"])
            if name in versions and is_affected(versions[name], one):
                summary = advisory.get("summary") or advisory.get("details", "")[:100]
                findings.append(Finding(name, versions[name], advisory["id"], summary.strip(), _fixed(one)))
    if not count:
        raise NoAdvisories(f"{path} holds no advisories of Python packages")
    return Dump(findings, count, newest)


def is_affected(version: str, affected: dict[str, Any]) -> bool:
    """Whether an advisory's list of versions, or one of its ranges, has this one."""
    if version in affected.get("versions", []):
        return True
    try:
        installed = Version(version)
        ranges = [one["events"] for one in affected.get("ranges", []) if one["type"] == "ECOSYSTEM"]
        return any(_in_range(installed, events) for events in ranges)
    except InvalidVersion:
        # Nobody can say: better looked at than passed over.
        return True


def _in_range(installed: Version, events: list[dict[str, str]]) -> bool:
    inside = False
    for event in sorted(events, key=lambda event: Version(next(iter(event.values())))):
        ((kind, version),) = event.items()
        bound = Version(version)
        if kind == "introduced" and installed >= bound:
            inside = True
        elif (kind == "fixed" and installed >= bound) or (kind == "last_affected" and installed > bound):
            inside = False
    return inside


def _fixed(affected: dict[str, Any]) -> tuple[str, ...]:
    ranges = [one for one in affected.get("ranges", []) if one["type"] == "ECOSYSTEM"]
    return tuple(event["fixed"] for one in ranges for event in one["events"] if "fixed" in event)


def _advisories(path: Path) -> Iterator[dict[str, Any]]:
    try:
        if path.is_dir():
            for file in sorted(path.rglob("*.json")):
                yield json.loads(file.read_text(encoding="utf-8"))
            return
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".json"):
                    yield json.loads(archive.read(name))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise NoAdvisories(f"{path} cannot be read: {error}") from error
