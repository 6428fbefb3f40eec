"""What a host needs for containers: Docker, compose and a daemon; found, or on Debian and Ubuntu as root installed and
started for as long as the rehearsal lasts."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("docker.io", "docker-compose", "iptables", "mmdebstrap", "python3-venv")
START_TIMEOUT_S = 60.0


class RehearsalFailed(RuntimeError):
    """The rehearsal cannot go on; the message says why."""


@dataclass(frozen=True)
class Host:
    """docker_host: the daemon's address; own: whether the daemon is the rehearsal's, to end with it; group: of its
    socket; compose: the command, v2 or v1."""

    docker_host: str
    own: bool
    group: int
    compose: tuple[str, ...]


def run(*command: str | Path, timeout_s: float = 600.0, environment: Mapping[str, str] | None = None) -> str:
    """What a command prints. Raises RehearsalFailed with the end of it where it fails."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RehearsalFailed(f"`{' '.join(map(str, command))}` took more than {timeout_s:.0f} s") from error
    if done.returncode != 0:
        raise RehearsalFailed(f"`{' '.join(map(str, command))}` failed:\n{done.stdout[-3000:]}")
    return done.stdout


def install() -> None:
    """What is missing, from Debian's or Ubuntu's packages; RehearsalFailed names it elsewhere."""
    missing = [name for name in ("docker", "dockerd", "mmdebstrap", "iptables") if _which(name) is None]
    if _compose() is None:
        missing.append("docker compose")
    # A daemon that runs needs neither its program nor iptables here.
    if _answers("") and not {"mmdebstrap", "docker compose"} & set(missing):
        return
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise RehearsalFailed(
            f"{', '.join(missing)} missing: install {' '.join(PACKAGES)} (Debian, Ubuntu), or run as root"
        )
    print(f"installing {', '.join(missing)}", flush=True)
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "update", "--quiet", environment=environment)
    run(
        "apt-get",
        "install",
        "--yes",
        "--quiet",
        "--no-install-recommends",
        *PACKAGES,
        timeout_s=900,
        environment=environment,
    )


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _compose() -> tuple[str, ...] | None:
    """v2 where there is one, else v1."""
    plugin = (
        subprocess.run(["docker", "compose", "version"], capture_output=True, check=False) if _which("docker") else None
    )
    if plugin is not None and plugin.returncode == 0:
        return ("docker", "compose")
    return ("docker-compose",) if _which("docker-compose") else None


def _answers(docker_host: str) -> bool:
    if _which("docker") is None:
        return False
    environment = {**os.environ, **({"DOCKER_HOST": docker_host} if docker_host else {})}
    done = subprocess.run(["docker", "info"], env=environment, capture_output=True, timeout=30, check=False)
    return done.returncode == 0


@contextlib.contextmanager
def host() -> Iterator[Host]:
    """A host that runs containers, for as long as this is held.

    Raises RehearsalFailed where something is missing that cannot be installed, or the kernel refuses containers.
    """
    install()
    compose = _compose()
    assert compose is not None
    if _answers(""):
        yield Host(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"), False, _socket_group(), compose)
        return
    if os.geteuid() != 0:
        raise RehearsalFailed("no Docker daemon answers: start one, or run as root")
    with (
        tempfile.TemporaryDirectory(prefix="asr-rehearsal-docker-", ignore_cleanup_errors=True) as name,
        daemon(Path(name)) as docker_host,
    ):
        yield Host(docker_host, True, _socket_group(docker_host), compose)


def _socket_group(docker_host: str = "") -> int:
    path = Path((docker_host or os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")).removeprefix("unix://"))
    return path.stat().st_gid if path.exists() else os.getgid()


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[str]:
    """A Docker daemon of one's own, all of it inside of `folder`; its address."""
    folder.chmod(0o755)
    address = f"unix://{folder / 'docker.sock'}"
    log_path = folder / "dockerd.log"
    program = _which("dockerd")
    assert program is not None
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [program, "--data-root", folder / "data", "--exec-root", folder / "run", "-H", address,
             "--pidfile", folder / "pid", "--group", "docker"],
            stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(address):
            if process.poll() is not None or time.monotonic() > deadline:
                # The daemon's last lines name what the kernel refused (cgroups, overlay, iptables).
                reason = " | ".join(log_path.read_text(errors="replace").splitlines()[-2:])
                raise RehearsalFailed(f"this kernel refuses containers: dockerd did not start: {reason}")
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _unmount(folder)


def _unmount(folder: Path) -> None:
    """A daemon leaves mounts behind (its network namespace), and a folder with mounts cannot be removed."""
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        place = line.split()[1]
        if Path(place).is_relative_to(folder):
            subprocess.run(["umount", "--lazy", place], capture_output=True, check=False)
