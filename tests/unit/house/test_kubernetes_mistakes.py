"""Each thing that can be wrong of deploy/kubernetes is found: one is changed, and the check has to say so."""

import copy
import functools

import pytest

from tests.kubernetes.building import FOLDER, built
from tests.kubernetes.check import complaints

GONE = object()
POD = "spec.template.spec"
ONE = f"{POD}.containers.0"
TRITON, FRONTEND = "StatefulSet triton", "Deployment frontend"
SCALING, QUERY = "ScaledObject triton", "spec.triggers.0.metadata.query"

# An object, by the beginning of its name; where in it; what it becomes; what is to be said.
WRONG = [
    # Ports.
    (TRITON, f"{ONE}.ports.1.containerPort", 8009, "nobody listens on 8009"),
    (FRONTEND, f"{ONE}.ports.0.containerPort", 8100, "nobody listens on 8100"),
    ("Service triton", "spec.ports.0.port", 9001, "it is headless, and 9001 is no port of"),
    ("Service frontend", "spec.ports.0.targetPort", "https", "port http means https"),
    ("NetworkPolicy triton", "spec.ingress.0.ports.0.port", 8003, "has no port 8003"),
    ("NetworkPolicy frontend", "spec.egress.0.ports.0.port", 25, "may be reached anywhere"),
    ("ServiceMonitor triton", "spec.endpoints.0.port", "http", "Service triton has no port http"),
    (TRITON, f"{ONE}.livenessProbe.httpGet.port", "metrics", "nobody answers /v2/health/live at metrics"),
    # Who means whom.
    ("Service triton", "spec.selector", {"app.kubernetes.io/name": "tritonserver"}, "selects nothing"),
    ("PodDisruptionBudget frontend", "spec.selector", {"matchLabels": {"app": "frontend"}}, "selects nothing"),
    (FRONTEND, "spec.selector.matchLabels", {"app.kubernetes.io/name": "front"}, "does not select its own pods"),
    ("NetworkPolicy triton", "spec.podSelector", {"matchLabels": {"app": "triton"}}, "selects nothing"),
    ("NetworkPolicy triton", "spec.podSelector", {}, "no policy says who reaches it"),
    ("NetworkPolicy triton", "spec.ingress.0.from.0.podSelector.matchLabels", {"app": "web"}, "there is nobody like"),
    (TRITON, f"{POD}.topologySpreadConstraints.0.labelSelector.matchLabels", {"app": "web"}, "are not its own"),
    (TRITON, "spec.serviceName", "tritons", "there is no headless service tritons"),
    ("ServiceMonitor frontend", "spec.selector.matchLabels", {"app": "web"}, "selects no service"),
    (SCALING, "spec.scaleTargetRef.kind", "Deployment", "there is no Deployment triton"),
    (TRITON, "spec.replicas", 2, "says itself how many there are"),
    (SCALING, "spec.minReplicaCount", 9, "from 9 to 8"),
    ("ConfigMap frontend", "data.ASR_TRITON_URLS", '["tritons:8001"]', "there is no service tritons"),
    ("ConfigMap frontend", "data.ASR_TRITON_URLS", '["triton:8000"]', "that is not where triton speaks gRPC"),
    ("ConfigMap frontend", "data.ASR_TRITON_URLS", '["dns:///triton:8002"]', "that is not where triton speaks gRPC"),
    ("ConfigMap frontend", "data.ASR_TRITON_URLS", '["dns:///frontend:80"]', "that is not where frontend speaks gRPC"),
    # Queries.
    (SCALING, QUERY, 'sum(asr_stream_session{namespace="asr"})', "nobody registers asr_stream_session"),
    (SCALING, QUERY, 'sum(asr_decoder_waiting{namespace="asr", prio="1"})', "has no label prio"),
    (SCALING, QUERY, "sum(asr_stream_sessions)", "is not of the namespace asr alone"),
    (SCALING, QUERY, "sum(asr_stream_sessions", "ScaledObject triton: sum(asr_stream_sessions:"),
    ("ScaledObject frontend", "spec.triggers.0.metadata.threshold", "600", "refuses sessions at 512"),
    (SCALING, "spec.triggers.0.metadata.treshold", "70", "treshold"),
    (SCALING, "spec.triggers.0.metadata.threshold", GONE, "'threshold' is a required property"),
    ("ServiceMonitor frontend", "spec.endpoints.0.interval", "5 s", "5 s"),
    # Variables.
    ("ConfigMap frontend", "data.ASR_TRITON_ADDRESS", "triton:8001", "nobody reads ASR_TRITON_ADDRESS"),
    ("ConfigMap frontend", "data.ASR_PROCESSES", "many", "ASR_PROCESSES:"),
    (TRITON, f"{ONE}.env.0.name", "MODEL_REPOSITORY", "nobody reads MODEL_REPOSITORY"),
    ("ConfigMap models", "data.CHECKPOINT", GONE, "its script wants CHECKPOINT"),
    ("ConfigMap models", "data.CHEKPOINT", "a", "nobody reads CHEKPOINT"),
    (TRITON, f"{ONE}.env.1.valueFrom.configMapKeyRef.key", "ENGINE", "has no ENGINE"),
    (FRONTEND, f"{ONE}.envFrom.0.configMapRef.name", "settings", "there is no ConfigMap settings"),
    (FRONTEND, f"{ONE}.env.1.valueFrom.secretKeyRef.name", "keys", "README.md does not say how the secret keys"),
    ("ConfigMap models", "data.PROFILE", "tensorrtx", "there is no profile tensorrtx"),
    # Files.
    (FRONTEND, f"{POD}.volumes.0.secret.secretName", "control", "no secret that README.md makes has /control/key"),
    (FRONTEND, f"{ONE}.env.0.value", "/secrets/key", "no secret that README.md makes has /secrets/key"),
    (TRITON, f"{ONE}.env.0.value", "/repository/model_repository", "where nothing is put"),
    (TRITON, f"{ONE}.volumeMounts.0.mountPath", "/models", "/repository/models is in no volume"),
    (TRITON, f"{ONE}.volumeMounts.0.name", "models", "there is no volume models"),
    (TRITON, f"{POD}.initContainers.0.command.1", "/fill/export.sh", "there is no /fill/export.sh"),
    (TRITON, f"{POD}.volumes.0.configMap.name", "fill", "there is no ConfigMap fill"),
    (TRITON, f"{ONE}.volumeMounts.3.mountPath", "/shm", "tensors want 2 GiB of shared memory"),
    (TRITON, f"{POD}.volumes.3.emptyDir.sizeLimit", "64Mi", "tensors want 2 GiB of shared memory"),
    (TRITON, f"{POD}.volumes.2.emptyDir.sizeLimit", GONE, "has no limit"),
    (FRONTEND, f"{POD}.volumes.1.emptyDir.sizeLimit", "1Gi", "do not fit into /tmp"),
    (FRONTEND, f"{ONE}.volumeMounts.1.mountPath", "/var/tmp", "it cannot write to /tmp"),
    # Images, users, rights.
    (TRITON, f"{ONE}.image", "qwen3-asr-server:0.1.0", "nothing of ours builds an image"),
    (FRONTEND, f"{ONE}.image", "registry.example.org/qwen3-asr-frontend:latest", "is not of this version"),
    (FRONTEND, f"{POD}.securityContext.runAsUser", 1000, "it is user 1000, its image's files are 65532's"),
    (TRITON, f"{POD}.securityContext.runAsUser", 0, "it is user 0"),
    (TRITON, f"{POD}.securityContext.runAsNonRoot", False, "it may be root"),
    (TRITON, f"{POD}.securityContext.seccompProfile", GONE, "no seccomp profile"),
    (TRITON, f"{POD}.automountServiceAccountToken", GONE, "a token of the cluster's"),
    (FRONTEND, f"{POD}.enableServiceLinks", GONE, "services' names become its variables"),
    (TRITON, f"{ONE}.securityContext.readOnlyRootFilesystem", False, "its root can be written"),
    (FRONTEND, f"{ONE}.securityContext.allowPrivilegeEscalation", True, "it may gain rights"),
    (FRONTEND, f"{ONE}.securityContext.capabilities", {"drop": ["NET_RAW"]}, "it has capabilities"),
    (TRITON, f"{ONE}.resources.limits.memory", GONE, "its memory has no limit"),
    # Probes, and the end.
    (FRONTEND, f"{ONE}.readinessProbe.httpGet.path", "/healthz", "nobody answers /healthz"),
    (TRITON, f"{ONE}.startupProbe.httpGet.path", "/health/ready", "nobody answers /health/ready"),
    ("ServiceMonitor frontend", "spec.endpoints.0.path", "/prometheus", "does not answer /prometheus"),
    (TRITON, f"{ONE}.readinessProbe.exec.command.2", "frontend.triton.health", "there is no such command"),
    (TRITON, f"{ONE}.livenessProbe", GONE, "no livenessProbe"),
    ("ConfigMap frontend", "data.ASR_DRAIN_TIMEOUT_S", "60", "may take 10 + 140 s to end, and is killed after 100 s"),
    (FRONTEND, f"{POD}.terminationGracePeriodSeconds", GONE, "is killed after 30 s"),
    (TRITON, f"{POD}.terminationGracePeriodSeconds", 60, "may take 15 + 65 s to end, and is killed after 60 s"),
    (FRONTEND, f"{ONE}.lifecycle", GONE, "told to end while it is still asked"),
    # Shapes.
    (FRONTEND, f"{POD}.terminationGraceSeconds", 100, "terminationGraceSeconds"),
    ("PodDisruptionBudget triton", "apiVersion", "policy/v1beta1", "has no kind PodDisruptionBudget"),
    ("Service triton", "metadata.namespace", GONE, "is in no namespace"),
]

RUNTIME, PREDICTOR = "ServingRuntime qwen3-asr-triton", "InferenceService qwen3-asr"
OF_KSERVE = [
    (RUNTIME, "spec.containers.0.env.0.value", "/models", "/models is in no volume"),
    (RUNTIME, "spec.containers.0.ports.1.containerPort", 9000, "nobody listens on 9000"),
    (RUNTIME, "spec.containers.0.startupProbe.httpGt", {}, "httpGt"),
    (PREDICTOR, "spec.predictor.model.storageUri", "pvc://checkpoints/models", "there is no claim checkpoints"),
    (PREDICTOR, "spec.predictor.model.env.0.valueFrom.configMapKeyRef.name", "models", "has no PROFILE"),
    (PREDICTOR, "spec.predictor.terminationGracePeriodSeconds", 30, "is killed after 30 s"),
    (PREDICTOR, "spec.predictor.modelFormat", {"name": "triton"}, "modelFormat"),
    ("ConfigMap frontend", "data.ASR_TRITON_URLS", '["triton:8001"]', "there is no service triton"),
    ("ConfigMap frontend", "data.ASR_TRITON_URLS", '["dns:///qwen3-asr-predictor:8001"]', "is one address"),
    ("Job models", f"{ONE}.command.1", "/fill/models.sh", "there is no /fill/models.sh"),
]


@functools.cache
def _built(folder):
    return built(FOLDER / folder)


def changed(folder, name, path, value):
    """The folder's objects, of which one has another value at one place."""
    objects = copy.deepcopy(_built(folder))
    one = next(one for one in objects if f"{one['kind']} {one['metadata']['name']}".startswith(name))
    *way, last = (int(word) if word.isdigit() else word for word in path.split("."))
    for step in way:
        one = one[step]
    if value is GONE:
        del one[last]
    else:
        one[last] = value
    return objects


def named(row):
    return f"{row[0]}: {row[1].rpartition('.')[2]}"


@pytest.mark.parametrize("row", WRONG, ids=named)
def test_a_mistake_is_found(row):
    *change, said = row
    found = complaints(changed("overlays/keda", *change))
    assert any(said in one for one in found), found


@pytest.mark.parametrize("row", OF_KSERVE, ids=named)
def test_a_mistake_is_found_where_kserve_makes_the_pods(row):
    *change, said = row
    found = complaints(changed("kserve", *change))
    assert any(said in one for one in found), found
