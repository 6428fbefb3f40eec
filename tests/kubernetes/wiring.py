"""Who means whom: selectors that select, ports that somebody listens on, addresses that resolve, targets that exist."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.kubernetes import house
from tests.kubernetes.objects import Objects, Pod, Service, matches, name_of

# Where a frontend finds Triton: one address, or several.
ADDRESS, ADDRESSES = "ASR_TRITON_URL", "ASR_TRITON_URLS"
# Of a name server, which every cluster has, and of whoever has checkpoints.
ELSEWHERE = {53, 443}


def complaints(objects: Objects) -> Iterator[str]:
    yield from _services(objects)
    yield from _workloads(objects)
    yield from _policies(objects)
    yield from _monitors(objects)
    yield from _scaled(objects)
    yield from _addresses(objects)


def _services(objects: Objects) -> Iterator[str]:
    for service in objects.services:
        pods = objects.selected({"matchLabels": service.selector})
        if not pods:
            yield f"Service {service.name}: its selector {service.selector} selects nothing"
        for name, (number, target) in service.ports.items():
            for pod in pods:
                listens = pod.ports()
                there = target in listens if isinstance(target, str) else target in listens.values()
                if not there:
                    yield f"Service {service.name}: port {name} means {target}, which {pod.where} has not: {listens}"
                # A headless service has no ports of its own: whoever asks its name asks a pod.
                elif service.headless and number != (listens[target] if isinstance(target, str) else target):
                    yield f"Service {service.name}: it is headless, and {number} is no port of {pod.where}: {listens}"
    for one in objects.of("StatefulSet"):
        if one["spec"]["serviceName"] not in {service.name for service in objects.services if service.headless}:
            yield f"{name_of(one)}: there is no headless service {one['spec']['serviceName']}"


def _workloads(objects: Objects) -> Iterator[str]:
    for one in objects.of("Deployment", "StatefulSet"):
        labels = one["spec"]["template"]["metadata"]["labels"]
        if not matches(one["spec"]["selector"], labels):
            yield f"{name_of(one)}: its selector does not select its own pods"
        for spread in one["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
            if not matches(spread["labelSelector"], labels):
                yield f"{name_of(one)}: pods that it spreads over {spread['topologyKey']} are not its own"
    for one in objects.of("PodDisruptionBudget"):
        if not objects.selected(one["spec"]["selector"]):
            yield f"{name_of(one)}: its selector selects nothing"


def _policies(objects: Objects) -> Iterator[str]:
    covered = set()
    for one in objects.of("NetworkPolicy"):
        spec, where = one["spec"], name_of(one)
        pods = objects.selected(spec["podSelector"])
        if not pods:
            yield f"{where}: its selector selects nothing"
        if spec["podSelector"]:
            covered |= {pod.where for pod in pods}
        for rule in spec.get("ingress", []):
            yield from _policy_ports(where, rule, pods)
            yield from _policy_peers(where, rule.get("from", []), objects)
        for rule in spec.get("egress", []):
            yield from _policy_peers(where, rule.get("to", []), objects)
            peers = [pod for peer in rule.get("to", []) for pod in objects.selected(peer.get("podSelector", {}))]
            yield from _policy_ports(where, rule, peers)
            strange = {port["port"] for port in rule.get("ports", [])} - ELSEWHERE if not peers else set()
            if strange:
                yield f"{where}: {strange} may be reached anywhere"
    if objects.of("NetworkPolicy"):
        yield from (f"{pod.where}: no policy says who reaches it" for pod in objects.pods if pod.where not in covered)


def _policy_ports(where: str, rule: dict[str, Any], pods: list[Pod]) -> Iterator[str]:
    for port in rule.get("ports", []):
        for pod in pods:
            known = {*pod.ports(), *pod.ports().values()}
            if port["port"] not in known:
                yield f"{where}: {pod.where} has no port {port['port']}: {pod.ports()}"


def _policy_peers(where: str, peers: list[dict[str, Any]], objects: Objects) -> Iterator[str]:
    for peer in peers:
        if "namespaceSelector" not in peer and not objects.selected(peer.get("podSelector", {})):
            yield f"{where}: there is nobody like {peer}"


def _monitors(objects: Objects) -> Iterator[str]:
    for one in objects.of("ServiceMonitor"):
        services = [service for service in objects.services if matches(one["spec"]["selector"], service.labels)]
        if not services:
            yield f"{name_of(one)}: its selector selects no service"
        for service in services:
            for endpoint in one["spec"]["endpoints"]:
                if endpoint["port"] not in service.ports:
                    yield f"{name_of(one)}: Service {service.name} has no port {endpoint['port']}"
                    continue
                for pod in objects.selected({"matchLabels": service.selector}):
                    if not is_answered(pod, service.ports[endpoint["port"]][1], endpoint["path"]):
                        yield f"{name_of(one)}: {pod.where} does not answer {endpoint['path']} at {endpoint['port']}"


def is_answered(pod: Pod, port: str | int, path: str) -> bool:
    """Whether a pod answers a path at one of its ports, by name or number."""
    name = next((known for known, number in pod.ports().items() if port in (known, number)), "")
    if any("frontend" in one["image"] for one in pod.spec["containers"]):
        return name == "http" and house.frontend_answers(path)
    return path in house.TRITONS_PATHS.get(name, set())


def _scaled(objects: Objects) -> Iterator[str]:
    for one in objects.of("ScaledObject"):
        spec, target = one["spec"], one["spec"]["scaleTargetRef"]
        found = [other for other in objects.of(target["kind"]) if other["metadata"]["name"] == target["name"]]
        if not found:
            yield f"{name_of(one)}: there is no {target['kind']} {target['name']}"
        if any("replicas" in other["spec"] for other in found):
            yield f"{name_of(one)}: {target['kind']} {target['name']} says itself how many there are"
        if not 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"]:
            yield f"{name_of(one)}: from {spec['minReplicaCount']} to {spec['maxReplicaCount']}"


def _addresses(objects: Objects) -> Iterator[str]:
    for config in objects.of("ConfigMap"):
        data = config["data"]
        said = [data[ADDRESS]] if data.get(ADDRESS) else []
        said += json.loads(data[ADDRESSES]) if data.get(ADDRESSES) else []
        for address in said:
            # A weight may stand behind it.
            host, _, port = address.removeprefix("dns:///").partition("=")[0].rpartition(":")
            service = next((one for one in objects.services if one.name == host.partition(".")[0]), None)
            if service is None:
                yield f"{name_of(config)}: {address}: there is no service {host}"
            elif port not in _grpc_ports(objects, service):
                yield f"{name_of(config)}: {address}: that is not where {host} speaks gRPC: {service.ports}"
            elif address.startswith("dns:///") and not service.headless:
                yield f"{name_of(config)}: {address}: {host} is one address, not one of each server"


def _grpc_ports(objects: Objects, service: Service) -> set[str]:
    """At which a service's pods speak gRPC."""
    means = {"grpc", *(pod.ports().get("grpc") for pod in objects.selected({"matchLabels": service.selector}))}
    return {str(number) for number, target in service.ports.values() if target in means}
