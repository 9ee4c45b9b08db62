"""Ephemeral pod metadata: labels and annotations that pods carry while they are canary or stable. PURE.

What was put into a ReplicaSet's template is recorded in its annotation EPHEMERAL_METADATA, so that only that
is taken out again: others (sidecar injectors) write into the same maps.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from agent.api.rollout import PodMetadata
from agent.rollout import step_schema
from agent.rollout.go_json import Types, write

_TYPES = Types(step_schema.STRUCTS)


class Synced(NamedTuple):
    """The template's metadata as they should be; `recorded` is the annotation's text, None for none."""

    modified: bool
    labels: dict[str, str]
    annotations: dict[str, str]
    recorded: str | None


def sync(
    labels: Mapping[str, str] | None,
    annotations: Mapping[str, str] | None,
    recorded: str | None,
    desired: PodMetadata | None,
) -> Synced:
    """Put what is desired into the template's metadata, and take out what was recorded and is not any more.

    A wanted value wins over one of the template. A record that cannot be read counts as none. When nothing
    has to change the record stays as it is, even if it names keys that are gone.
    """
    known = _read(recorded)
    wanted = desired or PodMetadata()
    new_labels = _merged(labels, known.labels, wanted.labels)
    new_annotations = _merged(annotations, known.annotations, wanted.annotations)
    if new_labels == (labels or {}) and new_annotations == (annotations or {}):
        return Synced(False, new_labels, new_annotations, recorded)
    return Synced(True, new_labels, new_annotations, record(desired))


def record(desired: PodMetadata | None) -> str | None:
    """Text of the annotation; None when nothing is desired."""
    if desired is None:
        return None
    return write(msgspec.to_builtins(desired), "PodTemplateMetadata", _TYPES)


def _read(recorded: str | None) -> PodMetadata:
    try:
        known = msgspec.json.decode(recorded or "null", type=PodMetadata | None)
    except msgspec.MsgspecError:
        known = None
    return known or PodMetadata()


def _merged(
    present: Mapping[str, str] | None,
    known: Mapping[str, str] | None,
    wanted: Mapping[str, str] | None,
) -> dict[str, str]:
    gone = (known or {}).keys() - (wanted or {}).keys()
    kept = {key: value for key, value in (present or {}).items() if key not in gone}
    return {**kept, **(wanted or {})}
