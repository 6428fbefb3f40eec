"""All that is wrong of what Kustomize built, in words."""

from __future__ import annotations

from tests.kubernetes import containers, queries, schemas, wiring
from tests.kubernetes.building import Object
from tests.kubernetes.objects import Objects


def complaints(built: list[Object]) -> list[str]:
    """None where all is well. Where an object is not of its kind's shape, that alone is told."""
    for one in built:
        if one["kind"] != "Namespace" and not one["metadata"].get("namespace"):
            return [f"{one['kind']} {one['metadata']['name']} is in no namespace"]
    if found := list(schemas.complaints(built)):
        return found
    objects = Objects(built)
    if found := list(schemas.complaints_of_pods(objects)):
        return found
    return [*wiring.complaints(objects), *containers.complaints(objects), *queries.complaints(objects)]
