"""What our code says of itself: variables, ports, users, routes, metrics, and how long things take to end."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import yaml
from fastapi import FastAPI
from starlette.routing import Match

from export.rooms import room
from frontend.app import create_app
from frontend.observe.metrics import Metrics
from frontend.settings import Settings
from frontend.triton import supervisor
from frontend.workers import master
from tests.kubernetes.building import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
# Programs' own, which our files set nowhere else.
PYTHONS = {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
HUBS = {"HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HOME"}
# Of Triton's HTTP, as its documentation has them; metrics are on a port of their own.
TRITONS_PATHS = {"http": {"/v2/health/ready", "/v2/health/live"}, "metrics": {"/metrics"}}


@dataclass(frozen=True)
class Image:
    """One of ours. exposed: ports; user: its number, 0 for root's."""

    exposed: frozenset[int]
    user: int
    variables: frozenset[str]


@functools.cache
def images() -> dict[str, Image]:
    """By the names that compose gives them."""
    found = {}
    for service in COMPOSE["services"].values():
        if "build" not in service:
            continue
        build = service["build"]
        text = _stage((ROOT / build["dockerfile"]).read_text(encoding="utf-8"), build.get("target"))
        exposed = frozenset(int(port) for line in re.findall(r"^EXPOSE (.+)$", text, re.M) for port in line.split())
        users = re.findall(r"^USER (\d+)$", text, re.M)
        variables = {name for line in _lines(text, "ENV") for name in re.findall(r"(\w+)=", line)} | PYTHONS | HUBS
        variables |= {f"ASR_{name.upper()}" for name in Settings.model_fields}
        found[service["image"]] = Image(exposed, int(users[-1]) if users else 0, frozenset(variables))
    return found


def _stage(text: str, target: str | None) -> str:
    """What a Dockerfile says of one stage, or of its last one."""
    stages = re.split(r"^FROM ", text, flags=re.M)[1:]
    if target is None:
        return stages[-1]
    return next(stage for stage in stages if re.match(rf"\S+ AS {target}$", stage.splitlines()[0]))


def _lines(text: str, instruction: str) -> list[str]:
    return re.findall(rf"^{instruction} ((?:.*\\\n)*.*)$", text, re.M)


@functools.cache
def frontend_answers(path: str) -> bool:
    """Whether the frontend has a route for a GET of this path."""
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
    return any(route.matches(dict(scope))[0] is Match.FULL for route in _app().routes)


@functools.cache
def _app() -> FastAPI:
    return create_app(Settings(triton_url="127.0.0.1:1"))


@functools.cache
def metrics() -> dict[str, frozenset[str]]:
    """The labels of every metric that the frontend and the models register, by its name as Prometheus has it."""
    found: dict[str, frozenset[str]] = {}
    for collector in (metrics_of := Metrics()).registry.collect():
        labels = frozenset(getattr(_collector(metrics_of, collector.name), "_labelnames", ()))
        names = {
            "counter": [f"{collector.name}_total"],
            "gauge": [collector.name],
            "histogram": [f"{collector.name}_{part}" for part in ("bucket", "count", "sum")],
        }[collector.type]
        found |= {name: labels | ({"le"} if name.endswith("_bucket") else set()) for name in names}
    told = Registered()
    decoder = room("decoder", "serving.metrics")
    counted = SimpleNamespace(counters=decoder.COUNTERS)
    decoder.Metrics(told, SimpleNamespace(figures=lambda: counted), "decoder")
    room("asr_stream", "metrics").Metrics(told, "asr_stream", "asr_stream_0_0")
    turns = room("vad", "turns")
    room("vad", "room_metrics").RoomMetrics(told, turns.Counts(), "vad", "vad_0_0").close()
    return found | {name: frozenset(labels) for name, labels in told.labels.items()}


def _collector(metrics_of: Metrics, name: str) -> Any:
    """Who registered a metric: its label names are told by nothing that it collects while it has no values."""
    by_name = metrics_of.registry._names_to_collectors
    return by_name.get(name) or by_name.get(f"{name}_total")


class Registered:
    """In place of Triton's module for Python models: writes down what is registered."""

    def __init__(self) -> None:
        self.labels: dict[str, set[str]] = {}
        self.MetricFamily = _Families(self.labels)


class _Families:
    """Is called for a family, and has the kinds."""

    COUNTER, GAUGE = "counter", "gauge"

    def __init__(self, labels: dict[str, set[str]]) -> None:
        self._labels = labels

    def __call__(self, name: str, description: str, kind: str) -> Any:
        labels = self._labels.setdefault(name, set())

        def metric(labels: dict[str, str], into: set[str] = labels) -> Any:
            into.update(labels)
            return SimpleNamespace(increment=lambda _: None, set=lambda _: None)

        return SimpleNamespace(Metric=metric)


def frontends_end_s(drain_timeout_s: float) -> float:
    """The longest that a frontend takes from SIGTERM to its end: sessions, then requests, then what does not end."""
    return 2 * drain_timeout_s + 2 * master.END_S


def tritons_end_s() -> float:
    """The longest that a supervised Triton takes."""
    return supervisor.STOP_S
