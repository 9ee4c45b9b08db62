"""Suite pod-metadata: ephemeral labels and annotations of pods."""

from typing import Any

from agent.api.decode import read
from agent.api.rollout import PodMetadata
from agent.rollout.pod_metadata import sync
from tests.conformance.compare import differences


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    template, desired = given["templateMetadata"], given.get("desired")
    synced = sync(
        template.get("labels"),
        template.get("annotations"),
        given.get("recorded"),
        None if desired is None else read(PodMetadata, desired),
    )
    return differences(expect, synced._asdict())
