"""PromQL that scales: it can be read, and asks for metrics and labels that the code registers, of this namespace."""

from __future__ import annotations

from collections.abc import Iterator

import promql_parser

from frontend.settings import Settings
from tests.kubernetes import house
from tests.kubernetes.objects import Objects, name_of

# What Prometheus itself adds to whatever it scrapes, with the operator's monitors.
TARGETS = {"namespace", "pod", "service", "job", "instance", "container", "endpoint"}


def complaints(objects: Objects) -> Iterator[str]:
    for one in objects.of("ScaledObject"):
        for trigger in one["spec"]["triggers"]:
            if "query" not in trigger["metadata"]:
                continue
            where, query = name_of(one), trigger["metadata"]["query"]
            yield from (f"{where}: {wrong}" for wrong in wrong_of(query, one["metadata"].get("namespace")))
            most = Settings.model_fields["max_live_sessions"].default
            threshold = float(trigger["metadata"]["threshold"])
            if "sessions" in query and threshold >= most:
                yield f"{where}: a pod refuses sessions at {most}, before there are {threshold:g}"


def wrong_of(query: str, namespace: str | None) -> list[str]:
    """What is wrong of a query; namespace: whose pods it is to count."""
    try:
        parsed = promql_parser.parse(query)
    except ValueError as error:
        return [f"{query}: {error}"]
    found: list[str] = []

    def visit(node: object) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            labels = {one.name: one.value for one in node.matchers.matchers}
            known = house.metrics().get(node.name or "")
            if known is None:
                found.append(f"{query}: nobody registers {node.name}")
            elif unknown := set(labels) - known - TARGETS:
                found.append(f"{query}: {node.name} has no label {', '.join(sorted(unknown))}")
            if namespace is not None and labels.get("namespace") != namespace:
                found.append(f"{query}: {node.name} is not of the namespace {namespace} alone")
        return True

    promql_parser.walk(parsed, visit)
    return found
