"""Objects and names for the contract; names are new each time, for a real API server keeps what was there."""

import uuid

from agent.api.meta import Object
from agent.cluster.port import KINDS

ROLLOUT, CONFIG_MAP, REPLICA_SET = KINDS["Rollout"], KINDS["ConfigMap"], KINDS["ReplicaSet"]
VIRTUAL_SERVICE, ANALYSIS_RUN = KINDS["VirtualService"], KINDS["AnalysisRun"]


def a_name() -> str:
    return f"c-{uuid.uuid4().hex[:8]}"


def a_config_map(namespace: str, name: str, **labels: str) -> Object:
    metadata = {"namespace": namespace, "name": name, "labels": {"run": name, **labels}}
    return {"metadata": metadata, "data": {"a": "1"}}


def a_rollout(namespace: str, name: str) -> Object:
    return {
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "v1"}]},
            },
            "strategy": {"canary": {}},
        },
    }
