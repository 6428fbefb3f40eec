"""make rehearse: the compose file brought up for real, from a clone to a swapped engine, as users do it.

Base images that cannot be fetched are replaced by stand-ins of the same name (stand_ins/); everything above them is our
own Dockerfiles and compose file, run as they are, with a second compose file (compose.yml) that names what this host
cannot give. Ends with 0 and one line of what passed, or with 1 and the command that failed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from frontend.triton.process import free_port, is_free
from tests.rehearsal import stand_ins, walk
from tests.rehearsal.host import Host, RehearsalFailed, host, run
from tests.rehearsal.user import User, own
from tests.rehearsal.walk import Ledger

ROOT = Path(__file__).resolve().parents[2]
CLONER, ANOTHER = 1_000, 1_234
PORTS = {"ASR_PORT": 8080, "TRITON_HTTP_PORT": 8000, "TRITON_GRPC_PORT": 8001, "TRITON_METRICS_PORT": 8002}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make rehearse", description=__doc__)
    parser.add_argument("--break", dest="fault", choices=["weights", "keys"], help="break one thing, to see it found")
    parser.add_argument("--keep", action="store_true", help="keep our images: the next rehearsal is shorter")
    parser.add_argument("--gpu-images", action="store_true", help="build the images of a GPU host as well (gigabytes)")
    arguments = parser.parse_args()
    started, ledger = time.monotonic(), Ledger()
    try:
        with host() as here:
            try:
                stand_ins.make(here.docker_host, ROOT / ".cache" / "rehearsal")
                rehearse(here, ledger, arguments.fault, gpu_images=arguments.gpu_images)
                used_mb = disk_mb(here)
            finally:
                # What stands for NVIDIA's images must not lie about for the next build.
                stand_ins.remove(here.docker_host)
                if not arguments.keep:
                    remove_images(here)
    except RehearsalFailed as failure:
        print(f"\nFAILED after {', '.join(ledger.passed) or 'nothing'}: {failure}", file=sys.stderr)
        return 1
    minutes, seconds = divmod(int(time.monotonic() - started), 60)
    print(f"\nrehearsed in {minutes} min {seconds} s, {used_mb / 1000:.1f} GB of images: {', '.join(ledger.passed)}")
    return 0


def rehearse(here: Host, ledger: Ledger, fault: str | None, *, gpu_images: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="asr-rehearsal-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        clone = folder / "qwen3-asr-triton"
        # As a user's umask and git leave it: what is committed, and nothing else.
        run("git", "clone", "--quiet", "--no-hardlinks", ROOT, clone)
        if fault == "keys":
            unmend(clone / "frontend" / "settings.py", "env_ignore_empty=True", "env_ignore_empty=False")
        cloner = CLONER if os.geteuid() == 0 else os.geteuid()
        own(clone, cloner)
        user = User(here, clone, cloner, variables())
        try:
            walked(user, ledger, fault, gpu_images=gpu_images)
        finally:
            clean_up(user)


def walked(user: User, ledger: Ledger, fault: str | None, *, gpu_images: bool) -> None:
    parts: list[tuple[str, Callable[[User], object]]] = [
        ("build", walk.build),
        ("export", walk.export),
        ("up without keys", walk.up),
        ("a file by curl", walk.file_by_curl),
        ("word times", walk.word_times),
        ("speakers", walk.speakers),
        ("clients", walk.clients),
        ("a live stream by WebSocket", walk.live_by_websocket),
        ("a gRPC client", walk.grpc_client),
        ("perf analyzer", walk.perf_analyzer),
        ("an engine swapped and back under load", walk.swap_and_back),
        ("the profile two_sizes", walk.two_sizes),
        ("keys", walk.keys),
        ("gRPC clients alone", walk.grpc_clients_alone),
    ]
    for name, act in parts:
        with ledger.part(name):
            act(user)
    if os.geteuid() == 0:
        with ledger.part("a repository of another user"):
            walk.down(walk.another_owner(user, ANOTHER, broken=fault == "weights"))
    else:
        walk.down(user)
    if gpu_images:
        with ledger.part("images for a GPU host"):
            walk.gpu_images(user)


def variables() -> dict[str, str]:
    """What the rehearsal's own files and ports are; the usual ports where they are free."""
    ports = {name: str(usual if is_free(usual) else free_port()) for name, usual in PORTS.items()}
    files = f"docker-compose.yml:{ROOT / 'tests' / 'rehearsal' / 'compose.yml'}"
    return {**ports, "COMPOSE_FILE": files, "COMPOSE_PROJECT_NAME": "asr-rehearsal", "DOCKER_BUILDKIT": "0"}


def unmend(path: Path, mended: str, broken: str) -> None:
    text = path.read_text()
    walk.check(mended in text, f"{path} has no {mended} to break")
    path.write_text(text.replace(mended, broken))


def clean_up(user: User) -> None:
    """Nothing stays: containers, volumes, networks."""
    line = "docker compose --profile cpu --profile gpu --profile export down --volumes --remove-orphans"
    try:
        user.types(line, quiet=True)
    except (RehearsalFailed, subprocess.TimeoutExpired) as failure:
        print(f"not cleaned up: {failure}", file=sys.stderr)


def disk_mb(here: Host) -> float:
    """Of the images that were built, layers counted once."""
    if not here.own:
        return 0.0
    root = run(
        "docker", "info", "--format", "{{.DockerRootDir}}", environment={"DOCKER_HOST": here.docker_host}
    ).strip()
    return float(run("du", "--summarize", "--block-size=MB", root).split("MB")[0]) if shutil.which("du") else 0.0


def remove_images(here: Host) -> None:
    listed = run(
        "docker",
        "images",
        "--quiet",
        "--filter",
        "reference=asr-rehearsal-*",
        environment={"DOCKER_HOST": here.docker_host},
    )
    for image in set(listed.split()):
        subprocess.run(
            ["docker", "--host", here.docker_host, "rmi", "--force", image], capture_output=True, check=False
        )


if __name__ == "__main__":
    sys.exit(main())
