"""Suite pod-template-hash: canonical text and hash of a pod template."""

from typing import Any

from agent.rollout import hashes
from tests.conformance.compare import differences


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    template = given["template"]
    got = {
        "json": hashes.pod_template_json(template),
        "hash": hashes.pod_template_hash(template, given.get("collisionCount")),
    }
    return differences(expect, got)
