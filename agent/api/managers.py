"""Who wrote what on a Rollout, by its managedFields. PURE.

The API server keeps one entry a field manager and way of writing, with the time of its last change. An engine
(Argo's controller is `rollouts-controller`, we are `serinus`) writes fields of the status that no other tool
does; command lines and Argo CD only write intents (abort, pauseConditions, currentStepIndex, promoteFull).
So an engine is known by what it writes and not by a list of names.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from agent.api.meta import Object
from agent.api.names import FIELD_MANAGER
from agent.api.times import parse_time

ENGINE_FIELDS: Final = ("f:observedGeneration", "f:conditions", "f:phase", "f:currentPodHash")
PAUSED: Final = "f:paused"


class Written(NamedTuple):
    """A field manager, and when it last changed a field of its own (None: not told)."""

    manager: str
    at: datetime | None


def gist(entries: Any) -> list[dict[str, Any]]:
    """The entries with no more than what this module reads; those that say nothing are left out."""
    found = []
    for entry in entries if isinstance(entries, list) else ():
        fields = entry.get("fieldsV1") or {}
        status: dict[str, Any] = {
            name: {} for name in ENGINE_FIELDS if name in (fields.get("f:status") or {})
        }
        spec: dict[str, Any] = {PAUSED: {}} if PAUSED in (fields.get("f:spec") or {}) else {}
        kept = {
            **({"f:status": status} if status else {}),
            **({"f:spec": spec} if spec else {}),
        }
        if kept:
            slim = {name: entry[name] for name in ("manager", "time") if name in entry}
            found.append({**slim, "fieldsV1": kept})
    return found


def engines(rollout: Object) -> tuple[Written, ...]:
    """Those who wrote the status as an engine does, but for us."""
    return tuple(
        _written(entry)
        for entry in _entries(rollout)
        if entry.get("manager") != FIELD_MANAGER
        and any(name in _part(entry, "f:status") for name in ENGINE_FIELDS)
    )


def only_we_paused(rollout: Object) -> bool:
    """Whether spec.paused is as we wrote it, and nobody else's. True where no managers are told."""
    entries = _entries(rollout)
    return all(
        entry.get("manager") == FIELD_MANAGER
        for entry in entries
        if PAUSED in _part(entry, "f:spec")
    )


def _entries(rollout: Object) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = rollout["metadata"].get("managedFields") or []
    return entries


def _part(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part: Mapping[str, Any] = (entry.get("fieldsV1") or {}).get(name) or {}
    return part


def _written(entry: Mapping[str, Any]) -> Written:
    try:
        at = parse_time(str(entry.get("time") or ""))
    except ValueError:
        at = None
    return Written(str(entry.get("manager") or ""), at)
