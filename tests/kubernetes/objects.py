"""What the objects of a folder mean to each other: pods and their labels, services, the ConfigMaps that are there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.kubernetes.building import Object

WORKLOADS = ("Deployment", "StatefulSet", "Job")
# Of an InferenceService's predictor, what is not its pods'.
KSERVES = {"model", "minReplicas", "maxReplicas", "deploymentStrategy"}
# KServe's, where a model is mounted, and the container that serves it.
KSERVE_MODELS, KSERVE_CONTAINER = "/mnt/models", "kserve-container"
KSERVE_LABEL = "serving.kserve.io/inferenceservice"


@dataclass(frozen=True)
class Pod:
    """A kind of pod: of a workload, or of an InferenceService as KServe makes them. where: how complaints call it."""

    where: str
    labels: dict[str, str]
    spec: dict[str, Any]
    claims: frozenset[str] = frozenset()

    def containers(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Name for complaints and container, those that run before among them."""
        for group in ("initContainers", "containers"):
            for one in self.spec.get(group, []):
                yield f"{self.where}, container {one['name']}", one

    def ports(self) -> dict[str, int]:
        """Of the containers that serve, by name."""
        return {port["name"]: port["containerPort"] for one in self.spec["containers"] for port in one.get("ports", [])}

    def volumes(self) -> dict[str, dict[str, Any]]:
        return {one["name"]: one for one in self.spec.get("volumes", [])}


@dataclass(frozen=True)
class Service:
    """name, its selector, and its ports by name: the number it listens on, and which port of a pod it means."""

    name: str
    labels: dict[str, str]
    selector: dict[str, str]
    ports: dict[str, tuple[int, str | int]]
    headless: bool


@dataclass
class Objects:
    """Of one folder, all in one namespace."""

    all: list[Object]
    pods: list[Pod] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)

    def __post_init__(self) -> None:
        for one in self.all:
            if one["kind"] in WORKLOADS:
                template = one["spec"]["template"]
                claims = frozenset(claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", []))
                labels = template["metadata"].get("labels", {})
                self.pods.append(Pod(name_of(one), labels, template["spec"], claims))
            elif one["kind"] == "Service":
                self.services.append(_service(one))
            elif one["kind"] == "InferenceService":
                pod = _predictor(one, self.of("ServingRuntime"))
                self.pods.append(pod)
                self.services.append(_predictors_service(one["metadata"]["name"], pod))

    def of(self, *kinds: str) -> list[Object]:
        return [one for one in self.all if one["kind"] in kinds]

    def data(self, name: str) -> dict[str, str] | None:
        """What a ConfigMap holds; None where there is none of that name."""
        return next((one["data"] for one in self.of("ConfigMap") if one["metadata"]["name"] == name), None)

    def selected(self, selector: dict[str, Any]) -> list[Pod]:
        """By a LabelSelector; an empty one means all."""
        return [pod for pod in self.pods if matches(selector, pod.labels)]


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    if "matchExpressions" in selector:
        raise NotImplementedError("matchExpressions are used nowhere here")
    return all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items())


def name_of(one: Object) -> str:
    return f"{one['kind']} {one['metadata']['name']}"


def _service(one: Object) -> Service:
    spec = one["spec"]
    ports = {port["name"]: (port["port"], port.get("targetPort", port["port"])) for port in spec["ports"]}
    labels = one["metadata"].get("labels", {})
    return Service(one["metadata"]["name"], labels, spec["selector"], ports, spec.get("clusterIP") == "None")


def _predictor(one: Object, runtimes: list[Object]) -> Pod:
    """The pods of an InferenceService: its runtime's container with what the service itself says."""
    predictor, name = one["spec"]["predictor"], one["metadata"]["name"]
    model = predictor["model"]
    runtime = next(known for known in runtimes if known["metadata"]["name"] == model["runtime"])["spec"]
    serving = dict(next(known for known in runtime["containers"] if known["name"] == KSERVE_CONTAINER))
    serving["env"] = [*serving.get("env", []), *model.get("env", [])]
    claim = model["storageUri"].removeprefix("pvc://").partition("/")[0]
    mount = {"name": "kserve-models", "mountPath": KSERVE_MODELS, "readOnly": True}
    serving["volumeMounts"] = [*serving.get("volumeMounts", []), mount]
    volume = {"name": "kserve-models", "persistentVolumeClaim": {"claimName": claim}}
    spec = {name: value for name, value in predictor.items() if name not in KSERVES}
    spec |= {"containers": [serving], "volumes": [*runtime.get("volumes", []), volume]}
    return Pod(name_of(one), {KSERVE_LABEL: name, "app": f"isvc.{name}-predictor"}, spec)


def _predictors_service(name: str, pod: Pod) -> Service:
    """As KServe makes it in the mode Standard: the first port at 80, each other one at its own number."""
    ports: dict[str, tuple[int, str | int]] = {
        port: (number if index else 80, number) for index, (port, number) in enumerate(pod.ports().items())
    }
    return Service(f"{name}-predictor", {}, {"app": pod.labels["app"]}, ports, headless=False)
