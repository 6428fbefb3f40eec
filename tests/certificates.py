"""Certificates for tests, made by openssl: each is its own root."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

SUBJECT = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
KEY_KIND = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


@dataclass(frozen=True)
class Pair:
    """Files in PEM."""

    certificate: Path
    key: Path


def certificate(folder: Path) -> Pair:
    """A certificate of 127.0.0.1 that signs itself, for a day; skips the test where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    pair = Pair(folder / "certificate.pem", folder / "key.pem")
    files = ["-keyout", str(pair.key), "-out", str(pair.certificate)]
    command = ["openssl", "req", "-x509", *KEY_KIND, *SUBJECT, "-days", "1", *files]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return pair
