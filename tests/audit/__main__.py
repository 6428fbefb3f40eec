"""make audit: the packages of this environment against known advisories, by pip-audit or, without a network, by a dump.

Ends with 0 where nothing is known, 1 where something is, 3 where that could not be found out, which is no all-clear.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from tests.audit.advisories import Finding, NoAdvisories, compare

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".cache" / "audit"
# Installed without their dependencies on purpose (Makefile): what serves does not use them.
WITHOUT_DEPENDENCIES = ("nvidia-pytriton", "silero-vad", "hibari-tts", "resemblyzer")
CLEAN, FOUND, UNKNOWN = 0, 1, 3
TIMEOUT_S = 600
NOT_COVERED = "not covered: Triton itself, CUDA, FFmpeg inside of PyAV, the containers' systems (SECURITY.md)"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make audit", description=__doc__)
    parser.add_argument(
        "--advisories", type=Path, help="a dump in OSV's form (zip or folder), where there is no network"
    )
    arguments = parser.parse_args()
    installed = packages()
    FOLDER.mkdir(parents=True, exist_ok=True)
    lock = FOLDER / "resolved.txt"
    lock.write_text("".join(f"{name}=={version}\n" for name, version in sorted(installed.items())))
    print(f"{len(installed)} packages are installed: {lock}")
    problems = unmet()
    for problem in problems:
        print(f"  {problem}")
    try:
        if arguments.advisories is not None:
            dump = compare(arguments.advisories, installed)
            findings, by = dump.findings, f"{dump.count} advisories, the newest of {dump.newest}"
        else:
            findings, by = by_service(lock), f"the advisories of {service()}"
    except NoAdvisories as reason:
        print(f"NOT AUDITED: {reason}", file=sys.stderr)
        return UNKNOWN
    for finding in findings:
        fixed = f"; fixed in {', '.join(finding.fixed)}" if finding.fixed else ""
        print(f"  {finding.package} {finding.version}: {finding.advisory} {finding.summary}{fixed}")
    verdict = f"{len(findings)} known vulnerabilities" if findings else "no known vulnerability"
    print(f"{verdict} in {len(installed)} packages by {by}; {len(problems)} unmet requirements; {NOT_COVERED}")
    return FOUND if findings or problems else CLEAN


def packages() -> dict[str, str]:
    """What is installed beside this project, name: version; a build for CPU or CUDA (2.13.0+cpu) is a release."""
    listed = _pip("list", "--exclude-editable", "--format", "json").stdout
    return {one["name"]: one["version"].partition("+")[0] for one in json.loads(listed)}


def unmet() -> list[str]:
    """Requirements that the environment does not meet, of packages that were to bring theirs along."""
    checked = _pip("check")
    lines = checked.stdout.splitlines() if checked.returncode else []
    return [line for line in lines if not line.startswith(WITHOUT_DEPENDENCIES)]


def by_service(lock: Path) -> list[Finding]:
    """What pip-audit finds. Raises NoAdvisories where its service cannot be reached, or does not know every package: it
    then says `No known vulnerabilities` of those that it passed over."""
    python = FOLDER / "pip-audit" / "bin" / "python"
    try:
        if not (python.parent / "pip-audit").exists():
            venv.create(python.parents[1], with_pip=True)
            install = [str(python), "-m", "pip", "install", "--quiet", "pip-audit>=2.7"]
            subprocess.run(install, capture_output=True, check=True, timeout=TIMEOUT_S)
        command = [
            str(python.parent / "pip-audit"),
            "--requirement",
            str(lock),
            "--no-deps",
            "--disable-pip",
            "--format",
            "json",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoAdvisories(f"pip-audit cannot be run: {error}") from error
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise NoAdvisories(f"the advisories of {service()} cannot be reached: {last}") from error
    return judged(answer)


def service() -> str:
    """Whose advisories pip-audit asks for; its own variables name another one."""
    if os.environ.get("PIP_AUDIT_VULNERABILITY_SERVICE") == "osv":
        return os.environ.get("PIP_AUDIT_OSV_URL", "OSV")
    return "PyPI"


def judged(answer: dict[str, Any]) -> list[Finding]:
    """pip-audit's json as findings. Raises NoAdvisories where packages were passed over."""
    passed_over = [one["name"] for one in answer["dependencies"] if "skip_reason" in one]
    if passed_over or not answer["dependencies"]:
        raise NoAdvisories(
            f"the service knows nothing of {len(passed_over)} of {len(answer['dependencies'])} packages "
            f"({', '.join(passed_over[:3])}, …): is it PyPI? Without a network: make audit ADVISORIES=all.zip, "
            "of https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip"
        )
    return [
        Finding(
            one["name"], one["version"], known["id"], known.get("description", "")[:100], tuple(known["fix_versions"])
        )
        for one in answer["dependencies"]
        for known in one["vulns"]
    ]


def _pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


if __name__ == "__main__":
    sys.exit(main())
