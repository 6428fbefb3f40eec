"""What containers are given: images, variables, files, places to write to, rights, probes, and time to end."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from export.rooms import MODEL_REPOSITORY
from frontend import __version__
from frontend.settings import Settings
from frontend.triton import profiles
from tests.kubernetes import house
from tests.kubernetes.building import FOLDER
from tests.kubernetes.objects import KSERVE_MODELS, Objects, Pod
from tests.kubernetes.wiring import is_answered

UNITS = {"Mi": 2**20, "Gi": 2**30}
# Variables of the shell itself.
SHELLS = {"HOME", "PATH"}


def complaints(objects: Objects) -> Iterator[str]:
    for pod in objects.pods:
        yield from _rights_of_pod(pod)
        yield from _volumes(objects, pod)
        yield from _end(objects, pod)
        for where, container in pod.containers():
            image = house.images().get(container["image"].rpartition("/")[2].partition(":")[0])
            if image is None:
                yield f"{where}: nothing of ours builds an image {container['image']}"
                continue
            yield from _tag(where, container)
            yield from _rights(where, pod, container, image)
            yield from _ports(where, container, image)
            yield from _variables(where, objects, container, image)
            yield from _files(where, objects, pod, container)
            yield from _probes(where, pod, container)
    yield from _profiles(objects)


def _tag(where: str, container: dict[str, Any]) -> Iterator[str]:
    tag = container["image"].rpartition("/")[2].partition(":")[2]
    if tag != __version__:
        yield f"{where}: {container['image']} is not of this version, {__version__}"


def _rights_of_pod(pod: Pod) -> Iterator[str]:
    context = pod.spec.get("securityContext", {})
    if not context.get("runAsNonRoot"):
        yield f"{pod.where}: it may be root"
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield f"{pod.where}: no seccomp profile"
    if pod.spec.get("automountServiceAccountToken") is not False:
        yield f"{pod.where}: it is given a token of the cluster's, which it does not need"
    # FRONTEND_PORT is nobody's, but a service's name could make a variable that is.
    if pod.spec.get("enableServiceLinks") is not False:
        yield f"{pod.where}: services' names become its variables"


def _rights(where: str, pod: Pod, container: dict[str, Any], image: house.Image) -> Iterator[str]:
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
        yield f"{where}: it may gain rights"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield f"{where}: it has capabilities"
    if context.get("readOnlyRootFilesystem") is not True:
        yield f"{where}: its root can be written"
    user = context.get("runAsUser", pod.spec.get("securityContext", {}).get("runAsUser"))
    # The exporter's image begins as root, to become whoever owns a clone: here nobody does.
    if not user or (image.user and user != image.user):
        yield f"{where}: it is user {user}, its image's files are {image.user}'s"
    if "memory" not in container.get("resources", {}).get("limits", {}):
        yield f"{where}: its memory has no limit"


def _ports(where: str, container: dict[str, Any], image: house.Image) -> Iterator[str]:
    for port in container.get("ports", []):
        if port["containerPort"] not in image.exposed:
            yield f"{where}: nobody listens on {port['containerPort']}: {sorted(image.exposed)}"


def _given(objects: Objects, container: dict[str, Any]) -> dict[str, str | None]:
    """A container's variables; None where a secret has the value."""
    found: dict[str, str | None] = {}
    for source in container.get("envFrom", []):
        found |= objects.data(source["configMapRef"]["name"]) or {}
    for one in container.get("env", []):
        reference = one.get("valueFrom", {}).get("configMapKeyRef")
        data = objects.data(reference["name"]) if reference else None
        found[one["name"]] = (data or {}).get(reference["key"]) if reference else one.get("value")
    return found


def _variables(where: str, objects: Objects, container: dict[str, Any], image: house.Image) -> Iterator[str]:
    for source in container.get("envFrom", []):
        if objects.data(source["configMapRef"]["name"]) is None:
            yield f"{where}: there is no ConfigMap {source['configMapRef']['name']}"
    for one in container.get("env", []):
        reference = one.get("valueFrom", {}).get("configMapKeyRef")
        if reference and reference["key"] not in (objects.data(reference["name"]) or {}):
            yield f"{where}: ConfigMap {reference['name']} has no {reference['key']}"
        secret = one.get("valueFrom", {}).get("secretKeyRef")
        if secret and not _is_told(secret["name"], secret["key"]):
            yield f"{where}: README.md does not say how the secret {secret['name']} gets its {secret['key']}"
    given = _given(objects, container)
    read = image.variables | (_scripts_variables(objects, container) if container.get("command") else set())
    yield from (f"{where}: nobody reads {name}" for name in sorted(set(given) - read))
    missing = _scripts_variables(objects, container) - set(given) - SHELLS if container.get("command") else set()
    yield from (f"{where}: its script wants {name}" for name in sorted(missing))
    if "frontend" in container["image"]:
        values = {name.removeprefix("ASR_").lower(): value for name, value in given.items() if value}
        try:
            Settings.model_validate({name: value for name, value in values.items() if name in Settings.model_fields})
        except ValidationError as error:
            yield from (f"{where}: ASR_{str(one['loc'][0]).upper()}: {one['msg']}" for one in error.errors())


def _is_told(secret: str, key: str) -> bool:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    return re.search(rf"create secret generic {secret} .*--from-(literal|file)='?{key}=", text) is not None


def _scripts_variables(objects: Objects, container: dict[str, Any]) -> set[str]:
    """What the script that a container runs reads."""
    script = container["command"][-1].rpartition("/")[2]
    text = next((one["data"][script] for one in objects.of("ConfigMap") if script in one["data"]), "")
    return set(re.findall(r"\$\{?([A-Z_]{2,})\b", text))


def _volumes(objects: Objects, pod: Pod) -> Iterator[str]:
    for name, volume in pod.volumes().items():
        if "configMap" in volume and objects.data(volume["configMap"]["name"]) is None:
            yield f"{pod.where}: volume {name}: there is no ConfigMap {volume['configMap']['name']}"
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]["claimName"]
            if claim not in {one["metadata"]["name"] for one in objects.of("PersistentVolumeClaim")}:
                yield f"{pod.where}: volume {name}: there is no claim {claim}"
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"{pod.where}: volume {name} has no limit"


def _files(where: str, objects: Objects, pod: Pod, container: dict[str, Any]) -> Iterator[str]:
    """Paths that are named lie in something that is mounted, and are there."""
    volumes, mounts = pod.volumes(), {one["mountPath"]: one for one in container.get("volumeMounts", [])}
    for path, mount in mounts.items():
        if mount["name"] not in volumes and mount["name"] not in pod.claims:
            yield f"{where}: {path}: there is no volume {mount['name']}"
    given = _given(objects, container)
    # Dockerfile.triton's own.
    key = given.get("ASR_TRITON_CONTROL_KEY_FILE") or ("/control/key" if "triton" in container["image"] else None)
    if key:
        folder, _, name = key.rpartition("/")
        secret = volumes.get(mounts.get(folder, {}).get("name", ""), {}).get("secret", {}).get("secretName", "")
        if not _is_told(secret, name):
            yield f"{where}: no secret that README.md makes has {key}"
    for path in (given.get("MODELS"), given.get("HF_HOME"), *container.get("command", [])[1:]):
        if path and not any(path == mounted or path.startswith(f"{mounted}/") for mounted in mounts):
            yield f"{where}: {path} is in no volume"
    for path in container.get("command", [])[1:]:
        config = volumes.get(mounts.get(path.rpartition("/")[0], {}).get("name", ""), {}).get("configMap", {})
        if path.rpartition("/")[2] not in (objects.data(config.get("name", "")) or {}):
            yield f"{where}: there is no {path}"
    if "/tmp" not in mounts:
        yield f"{where}: it cannot write to /tmp"
    uploads_mb, tmp = given.get("ASR_MAX_UPLOADS_MB"), volumes.get(mounts.get("/tmp", {}).get("name", ""), {})
    if "frontend" in container["image"] and float(uploads_mb or Settings().max_uploads_mb) * 1e6 > _bytes(tmp):
        yield f"{where}: uploads of {uploads_mb or Settings().max_uploads_mb} MB do not fit into /tmp"
    if "triton" in container["image"]:
        shared = volumes.get(mounts.get("/dev/shm", {}).get("name", ""), {})
        if shared.get("emptyDir", {}).get("medium") != "Memory" or _bytes(shared) < 2 * UNITS["Gi"]:
            yield f"{where}: tensors want 2 GiB of shared memory, as compose gives"
        before = [_given(objects, one).get("MODELS") for one in pod.spec.get("initContainers", [])]
        if before not in ([given.get("MODELS")], []) or (not before and given.get("MODELS") != KSERVE_MODELS):
            yield f"{where}: it serves {given.get('MODELS')}, where nothing is put: {before}"


def _bytes(volume: dict[str, Any]) -> float:
    found = re.fullmatch(r"(\d+)(Mi|Gi)", volume.get("emptyDir", {}).get("sizeLimit", ""))
    return int(found[1]) * UNITS[found[2]] if found else 0.0


def _probes(where: str, pod: Pod, container: dict[str, Any]) -> Iterator[str]:
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container.get(kind)
        if probe is None:
            if container.get("ports"):
                yield f"{where}: no {kind}"
            continue
        asked = probe.get("httpGet")
        if asked and not is_answered(pod, asked["port"], asked["path"]):
            yield f"{where}: {kind}: nobody answers {asked['path']} at {asked['port']}"
        words = probe.get("exec", {}).get("command", [])
        if words and (words[:2] != ["python3", "-m"] or importlib.util.find_spec(words[2]) is None):
            yield f"{where}: {kind}: there is no such command: {' '.join(words)}"


def _end(objects: Objects, pod: Pod) -> Iterator[str]:
    """What ends in order has the time that it takes."""
    for container in pod.spec["containers"]:
        if not container.get("ports"):
            continue
        sleeps = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if not sleeps:
            yield f"{pod.where}: it is told to end while it is still asked (preStop)"
        takes = house.tritons_end_s()
        if "frontend" in container["image"]:
            said = _given(objects, container).get("ASR_DRAIN_TIMEOUT_S")
            takes = house.frontends_end_s(float(said) if said else Settings().drain_timeout_s)
        grace = pod.spec.get("terminationGracePeriodSeconds", 30)
        if grace < sleeps + takes:
            yield f"{pod.where}: it may take {sleeps:g} + {takes:g} s to end, and is killed after {grace} s"


def _profiles(objects: Objects) -> Iterator[str]:
    known = [profiles.named(name) for name in profiles.profiles_of(MODEL_REPOSITORY)]
    for config in objects.of("ConfigMap"):
        profile = config["data"].get("PROFILE")
        if profile is not None and profile not in known:
            yield f"ConfigMap {config['metadata']['name']}: there is no profile {profile}: {known}"
