"""Every object against its schema: Kubernetes' own kinds by its published schemas, others by custom.py."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator

import jsonschema
import kubernetes_validate

from tests.kubernetes.building import Object
from tests.kubernetes.custom import SPECS
from tests.kubernetes.objects import Objects, name_of

# The newest that is known, and the oldest that README.md names.
VERSIONS = ("1.37", "1.30")
MOST_SHOWN = 300


def complaints(built: list[Object]) -> Iterator[str]:
    for one in built:
        spec = SPECS.get((one["apiVersion"], one["kind"]))
        if spec is not None:
            for error in jsonschema.Draft202012Validator(spec).iter_errors(one["spec"]):
                yield f"{name_of(one)}: {'.'.join(map(str, error.path))}: {error.message[:MOST_SHOWN]}"
        else:
            yield from _of_kubernetes(json.dumps(one))


def complaints_of_pods(objects: Objects) -> Iterator[str]:
    """Of those that KServe makes, by the schema of pods: what custom.py leaves to Kubernetes."""
    for pod in objects.pods:
        named = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod.where}}
        yield from _of_kubernetes(json.dumps({**named, "spec": pod.spec}))


@functools.cache
def _of_kubernetes(text: str) -> list[str]:
    """Of an object, as JSON: the same one is judged once, which takes longer than all else here."""
    one, found = json.loads(text), []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(one, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            found.append(f"{name_of(one)}: Kubernetes {version} has no kind {one['kind']} in {one['apiVersion']}")
        except kubernetes_validate.ValidationError as error:
            path = ".".join(map(str, error.path))
            found.append(f"{name_of(one)}: Kubernetes {version}: {path}: {error.message[:MOST_SHOWN]}")
    return found
