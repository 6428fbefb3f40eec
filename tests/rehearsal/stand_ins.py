"""Stand-ins for base images that cannot be fetched here: same name and tag, from Debian packages and the PyPI wheel."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.rehearsal.host import RehearsalFailed, run

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BASE = "asr-rehearsal-base"
LABEL = "asr-rehearsal=stand-in"
PACKAGES = "python3,python3-pip,python3-venv,libpython3.11,ca-certificates,curl"


def base_images() -> dict[str, str]:
    """The images that our Dockerfiles stand on, by the file in `stand_ins/` that stands for each."""
    text = (ROOT / "Dockerfile.triton").read_text() + (ROOT / "Dockerfile.frontend").read_text()
    release = re.search(r"^ARG RELEASE=(\S+)$", text, re.M)
    assert release is not None
    names = {
        "tritonserver": f"nvcr.io/nvidia/tritonserver:{release[1]}-py3",
        "tensorrt": f"nvcr.io/nvidia/tensorrt:{release[1]}-py3",
        "python": "python:3.11-slim-bookworm",
        "distroless": "gcr.io/distroless/python3-debian12:nonroot",
    }
    for name in names.values():
        if name.replace(release[1], "${RELEASE}") not in text:
            raise RehearsalFailed(f"no Dockerfile stands on {name}: the stand-ins are of another day")
    return names


def make(docker_host: str, cache: Path) -> None:
    """Build those that the daemon has not."""
    environment = {"DOCKER_HOST": docker_host, "DOCKER_BUILDKIT": "0"}
    missing = {part: name for part, name in base_images().items() if not _has(name, docker_host)}
    if missing and not _has(BASE, docker_host):
        with tempfile.TemporaryDirectory(prefix="asr-rehearsal-base-") as folder:
            context = Path(folder)
            run("docker", "import", root_file_system(cache), f"{BASE}:bare", environment=environment)
            (context / "Dockerfile").write_text(f"FROM {BASE}:bare\n{_pip_of_this_host(context)}")
            run("docker", "build", "--network", "host", "--tag", BASE, context, environment=environment)
    for part, name in missing.items():
        print(f"stand-in {name}", flush=True)
        file = HERE / "stand_ins" / f"{part}.Dockerfile"
        labelled = ("--label", LABEL, "--tag", name)
        run("docker", "build", "--network", "host", *labelled, "--file", file, file.parent, environment=environment)


def _has(image: str, docker_host: str) -> bool:
    done = subprocess.run(
        ["docker", "--host", docker_host, "image", "inspect", image], capture_output=True, check=False
    )
    return done.returncode == 0


def root_file_system(cache: Path) -> Path:
    """Debian 12 with Python as a tar file, kept in `cache`."""
    path = cache / "bookworm.tar"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".fresh.tar")
        run("mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", fresh, timeout_s=900)
        fresh.replace(path)
    return path


def _pip_of_this_host(context: Path) -> str:
    """Instructions that give pip inside of a build what it has on this host: settings, certificates, local packages.

    They go into the stand-in, never into a Dockerfile of ours. Local indexes are left out for their size.
    """
    listed = run(sys.executable, "-m", "pip", "config", "list")
    settings = {
        key.split(".")[-1]: value.strip("'") for key, _, value in (r.partition("=") for r in listed.splitlines())
    }
    lines, conf = [], ["[global]"]
    for number, folder in enumerate(shlex.split(settings.get("find-links", ""))):
        if Path(folder).is_dir():
            shutil.copytree(folder, context / f"links{number}")
            lines.append(f"COPY links{number} {folder}")
            conf.append(f"find-links = {folder}")
    if certificates := settings.get("cert"):
        shutil.copy(certificates, context / "certificates.crt")
        lines += ["COPY certificates.crt /etc/ssl/certs/ca-certificates.crt"]
        conf.append("cert = /etc/ssl/certs/ca-certificates.crt")
    conf += [f"{key} = {settings[key]}" for key in ("index-url", "trusted-host") if key in settings]
    remote = [url for url in shlex.split(settings.get("extra-index-url", "")) if not url.startswith("file:")]
    if remote:
        conf.append(f"extra-index-url = {' '.join(remote)}")
    (context / "pip.conf").write_text("\n".join([*conf, "timeout = 180", ""]))
    return "\n".join([*lines, "COPY pip.conf /etc/pip.conf", ""])


def remove(docker_host: str) -> None:
    """Take the stand-ins away again, also those of a rehearsal that was interrupted: nobody is to build on them by
    mistake. An image of the same name that is none of ours stays."""
    for name in base_images().values():
        command = ["docker", "--host", docker_host, "image", "inspect", "--format", "{{json .Config.Labels}}", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0 and LABEL.partition("=")[0] in done.stdout:
            subprocess.run(["docker", "--host", docker_host, "rmi", "--force", name], capture_output=True, check=False)
