"""Suite step-hash: canonical text and hash of a list of canary steps."""

from typing import Any

from agent.rollout import hashes
from tests.conformance.compare import differences


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    strategy = given["strategy"]
    return differences(
        expect, {"json": hashes.step_json(strategy), "hash": hashes.step_hash(strategy)}
    )
