"""The shape of objects that others define (CustomResourceDefinitions), of which no package has schemas.

Written by us from their documentation, for the fields that we use and no others: a field that is not here is a
complaint, be it wrong or new. (KEDA 2.20, the Prometheus operator 0.93, KServe 0.20.)
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def _object(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def _array(of: Schema) -> Schema:
    return {"type": "array", "items": of, "minItems": 1}


TEXT: Schema = {"type": "string", "minLength": 1}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
DURATION: Schema = {"type": "string", "pattern": r"^\d+(ms|s|m|h)$"}
NUMBER: Schema = {"type": "string", "pattern": r"^\d+(\.\d+)?$"}
# Kubernetes' own parts, which the schemas of its own kinds cover (schemas.py).
KUBERNETES: Schema = {}

MONITOR = _object(
    {
        "selector": _object({"matchLabels": TEXTS}),
        "endpoints": _array(_object({"port": TEXT, "path": TEXT, "interval": DURATION})),
    }
)

PROMETHEUS_TYPE: Schema = {"const": "prometheus"}
PROMETHEUS = _object(
    {
        "type": PROMETHEUS_TYPE,
        "metricType": {"enum": ["AverageValue", "Value"]},
        "metadata": _object(
            {"serverAddress": {"type": "string", "pattern": "^https?://"}, "query": TEXT, "threshold": NUMBER},
            {"ignoreNullValues": {"enum": ["true", "false"]}},
        ),
    }
)
PROCESSOR = _object(
    {
        "type": {"enum": ["cpu", "memory"]},
        "metricType": {"enum": ["AverageValue", "Utilization"]},
        "metadata": _object({"value": NUMBER}),
    }
)
SCALED = _object(
    {
        "scaleTargetRef": _object({"kind": TEXT, "name": TEXT}),
        "minReplicaCount": COUNT,
        "maxReplicaCount": COUNT,
        "triggers": _array({"if": {"properties": {"type": PROMETHEUS_TYPE}}, "then": PROMETHEUS, "else": PROCESSOR}),
    },
    {
        "pollingInterval": COUNT,
        "fallback": _object(
            {"failureThreshold": COUNT, "replicas": COUNT},
            {"behavior": {"enum": ["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]}},
        ),
        "advanced": _object({"horizontalPodAutoscalerConfig": _object({"behavior": KUBERNETES})}),
    },
)

RUNTIME = _object(
    {
        "supportedModelFormats": _array(_object({"name": TEXT, "version": TEXT})),
        "protocolVersions": _array({"enum": ["v1", "v2", "grpc-v1", "grpc-v2"]}),
        "containers": _array(KUBERNETES),
    },
    {"multiModel": FLAG, "annotations": TEXTS, "volumes": _array(KUBERNETES)},
)
INFERENCE = _object(
    {
        "predictor": _object(
            {
                "model": _object(
                    {
                        "modelFormat": _object({"name": TEXT}, {"version": TEXT}),
                        "runtime": TEXT,
                        "storageUri": {"type": "string", "pattern": "^(pvc|s3|gs|hf|https?)://"},
                    },
                    {"env": _array(KUBERNETES), "resources": KUBERNETES},
                ),
            },
            {
                "minReplicas": COUNT,
                "maxReplicas": COUNT,
                "deploymentStrategy": KUBERNETES,
                "terminationGracePeriodSeconds": COUNT,
                "automountServiceAccountToken": FLAG,
                "enableServiceLinks": FLAG,
                "securityContext": KUBERNETES,
                "tolerations": _array(KUBERNETES),
            },
        )
    }
)

SPECS: dict[tuple[str, str], Schema] = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): MONITOR,
    ("keda.sh/v1alpha1", "ScaledObject"): SCALED,
    ("serving.kserve.io/v1alpha1", "ServingRuntime"): RUNTIME,
    ("serving.kserve.io/v1beta1", "InferenceService"): INFERENCE,
}
