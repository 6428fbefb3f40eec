"""Containers, as far as they can be checked without a container engine: lint, references, and the commands inside."""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import tomllib
import yaml

from export import container
from tests.conftest import ROOT
from tests.rehearsal.stand_ins import base_images

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PROFILES = ("gpu", "cpu", "export", "monitoring")
DOCKERFILES = ["Dockerfile.triton", "Dockerfile.frontend"]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfiles_pass_the_linter(name):
    linter = shutil.which("hadolint", path=f"{ROOT / '.venv' / 'bin'}:{sys.prefix}/bin") or shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([linter, name], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_the_compose_file_is_understood():
    command = shutil.which("docker-compose")
    if command is None:
        pytest.skip("docker-compose is not installed")
    done = subprocess.run(
        [command, *(part for name in PROFILES for part in ("--profile", name)), "config"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_rehearsal_changes_only_what_a_host_cannot_give():
    """Networks of builds, a limit that a kernel may refuse, and images' names: they must not pass for the real ones."""
    beside = yaml.safe_load((ROOT / "tests" / "rehearsal" / "compose.yml").read_text())
    assert set(beside["services"]) == {name for name, one in COMPOSE["services"].items() if "build" in one}
    for name, service in beside["services"].items():
        assert set(service) <= {"build", "image", "ulimits"}, name
        assert set(service["build"]) <= {"network", "args"}, name
        assert set(service["build"].get("args", {})) <= {"TORCH_INDEX"}, name
        assert set(service.get("ulimits", {})) <= {"memlock"}, name


def test_stand_ins_are_of_the_images_that_the_dockerfiles_stand_on():
    assert len(base_images()) == len(list((ROOT / "tests" / "rehearsal" / "stand_ins").glob("*.Dockerfile")))
    used = set()
    for name in DOCKERFILES:
        text = (ROOT / name).read_text()
        defaults = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.M))
        for image in re.findall(r"^FROM (\S+)", text, re.M):
            while variable := re.search(r"\$\{(\w+)\}", image):
                image = image.replace(variable[0], defaults[variable[1]])
            used.add(image)
    assert used == set(base_images().values())


def test_services_are_bounded_and_start_in_order():
    for name, service in COMPOSE["services"].items():
        if not name.startswith("exporter"):
            assert service["restart"] == "unless-stopped", name
            assert "memory" in service["deploy"]["resources"]["limits"], name
    for name, triton in (("frontend", "triton"), ("frontend-cpu", "triton-cpu")):
        assert COMPOSE["services"][name]["depends_on"] == {triton: {"condition": "service_healthy"}}
        assert COMPOSE["services"][name]["environment"]["ASR_TRITON_URL"] == "triton:8001"


def test_triton_is_controlled_by_the_frontend_alone():
    """The secret lies in a volume that nobody else has, and the frontend cannot write it; ports are this machine's."""
    for name, service in COMPOSE["services"].items():
        mounts = [volume for volume in service.get("volumes", []) if volume.startswith("control:")]
        if name.startswith("triton"):
            assert mounts == ["control:/control"], name
            assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        elif name.startswith("frontend"):
            assert mounts == ["control:/control:ro"], name
            assert service["environment"]["ASR_TRITON_CONTROL_KEY_FILE"] == "/control/key"
        else:
            assert not mounts, name
    assert "frontend.triton.control --shared /control/key" in (ROOT / "Dockerfile.triton").read_text()


def test_health_is_whether_the_work_is_done():
    check = re.search(r"HEALTHCHECK.*\n.*CMD (\[.*\])", (ROOT / "Dockerfile.frontend").read_text())
    assert check is not None
    asked, statuses = [], [200, 503]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(statuses.pop(0))
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {**os.environ, "ASR_PORT": str(server.server_port)}
        said = [
            subprocess.run([sys.executable, *json.loads(check[1])[1:]], cwd=ROOT, env=environment, check=False)
            for _ in range(2)
        ]
        server.shutdown()
    assert [one.returncode for one in said] == [0, 1]
    assert asked == ["/health/ready"] * 2


def test_a_server_that_does_not_come_back_by_itself_ends_its_container():
    """Its supervisor is the main process, knows the secret, and whoever restarts containers restarts it."""
    text = (ROOT / "Dockerfile.triton").read_text()
    assert "exec python3 -m frontend.triton.supervisor tritonserver $options" in text
    assert "ASR_TRITON_CONTROL_KEY_FILE=/control/key" in text
    assert {COMPOSE["services"][name]["restart"] for name in ("triton", "triton-cpu")} == {"unless-stopped"}


def test_images_run_as_nobody_in_particular_and_are_pinned():
    for name in DOCKERFILES:
        text = (ROOT / name).read_text()
        users = re.findall(r"^USER (.+)$", text, re.M)
        assert users, name
        assert all(int(user) > 0 for user in users)
        assert "HEALTHCHECK" in text

    # Triton 25.07 was the first release with the fixes of 2025's advisories.
    release = re.search(r"ARG RELEASE=(\d+)\.(\d+)", (ROOT / "Dockerfile.triton").read_text())
    assert release is not None
    assert tuple(map(int, release.groups())) >= (25, 7)


def test_every_file_that_is_mounted_or_copied_exists():
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), volume
    for name in DOCKERFILES:
        for sources in re.findall(r"^COPY (?!--)(.+) \S+$", (ROOT / name).read_text(), re.M):
            for source in sources.split():
                assert (ROOT / source).exists(), (name, source)


def test_the_exporters_image_has_the_rooms_code_and_nothing_that_was_exported():
    """What git does not take of the repository, the build does not take either."""
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    kept = {line.lstrip("!/").rstrip("/*") for line in ignored if "/model_repository/" in line}
    left = {line.lstrip("!/").rstrip("/*") for line in (ROOT / ".dockerignore").read_text().splitlines()}
    assert kept <= left
    assert "COPY model_repository model_repository" in (ROOT / "Dockerfile.triton").read_text()


def test_an_exporter_without_a_clone_says_so_and_exports_into_nothing(tmp_path):
    assert container.is_mounted(Path("/proc"))
    assert not container.is_mounted(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "export.container", "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "mount the one of the clone there" in done.stderr


def test_the_package_has_the_pages_files_and_the_lists_of_words():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["frontend"]
    packed = {path for pattern in patterns for path in (ROOT / "frontend").glob(pattern)}
    assert packed == {*(ROOT / "frontend" / "static").iterdir(), *(ROOT / "frontend" / "wording").rglob("*.txt")}


def test_the_dashboard_asks_for_metrics_that_exist():
    dashboard = json.loads((ROOT / "perf" / "monitoring" / "asr.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"asr_[a-z_]+", target["expr"])
    }
    from export.rooms import room
    from frontend.observe.metrics import Metrics

    known = {f"asr_decoder_{name}_total" for name in room("decoder", "serving.metrics").COUNTERS}
    known |= {
        f"asr_decoder_{name}" for name in (*room("decoder", "serving.metrics").GAUGES, "kv_tokens_used", "sessions")
    }
    known |= {f"asr_stream_{name}_total" for name in room("asr_stream", "metrics").COUNTERS} | {"asr_stream_sessions"}
    known |= {f"asr_room_{name}" for name in room("vad", "room_metrics").NAMES.values()}
    for family in Metrics().registry.collect():
        known |= {family.name, f"{family.name}_total", f"{family.name}_bucket", f"{family.name}_count"}
    assert asked <= known, asked - known
