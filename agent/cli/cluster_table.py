"""Objects as lines for people, with the columns that matter for a kind. Pure."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from agent.api.meta import Object
from agent.api.times import parse_time

Cell = Callable[[Object], object]


def table(objects: Sequence[Object], *, now: datetime, namespaces: bool) -> str:
    """A line an object below a line of headings; "" for no objects.

    Args:
        namespaces: show them.
    """
    if not objects:
        return ""
    columns: dict[str, Cell] = {}
    if namespaces and any("namespace" in obj["metadata"] for obj in objects):
        columns["NAMESPACE"] = lambda obj: obj["metadata"].get("namespace", "")
    columns["NAME"] = lambda obj: obj["metadata"]["name"]
    columns |= COLUMNS.get(str(objects[0].get("kind")), {})
    columns["AGE"] = lambda obj: _age(obj, now)
    rows = [list(columns), *([_text(cell(obj)) for cell in columns.values()] for obj in objects)]
    widths = [max(len(row[index]) for row in rows) for index in range(len(columns))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _at(*path: str) -> Cell:
    def cell(obj: Object) -> object:
        value: Any = obj
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    return cell


def _weights(obj: Object) -> str:
    """The weights of each HTTP route, `primary: 90/10`."""
    routes = []
    for route in (obj.get("spec") or {}).get("http") or ():
        parts = [str(target.get("weight", "-")) for target in route.get("route") or ()]
        routes.append(f"{route.get('name') or 'route'}: {'/'.join(parts)}")
    return ", ".join(routes)


def _step(obj: Object) -> str:
    steps = (((obj.get("spec") or {}).get("strategy") or {}).get("canary") or {}).get("steps") or ()
    index = (obj.get("status") or {}).get("currentStepIndex")
    return f"{index if index is not None else '-'}/{len(steps)}" if steps else ""


def _pod_state(obj: Object) -> object:
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    status = obj.get("status") or {}
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting")
        if waiting:
            return waiting.get("reason")
    return status.get("phase")


def _pod_ready(obj: Object) -> str:
    containers = (obj.get("status") or {}).get("containerStatuses") or ()
    total = len((obj.get("spec") or {}).get("containers") or ())
    return f"{sum(bool(container.get('ready')) for container in containers)}/{total}"


COLUMNS: Final[dict[str, dict[str, Cell]]] = {
    "Rollout": {
        "PHASE": _at("status", "phase"),
        "STEP": _step,
        "WEIGHT": _at("status", "canary", "weights", "canary", "weight"),
        "DESIRED": _at("spec", "replicas"),
        "READY": _at("status", "readyReplicas"),
        "MESSAGE": _at("status", "message"),
    },
    "ReplicaSet": {
        "DESIRED": _at("spec", "replicas"),
        "CURRENT": _at("status", "replicas"),
        "READY": _at("status", "readyReplicas"),
    },
    "Deployment": {"DESIRED": _at("spec", "replicas"), "READY": _at("status", "readyReplicas")},
    "Pod": {"READY": _pod_ready, "STATUS": _pod_state},
    "VirtualService": {"WEIGHTS": _weights},
    "AnalysisRun": {"PHASE": _at("status", "phase"), "MESSAGE": _at("status", "message")},
    "Experiment": {"PHASE": _at("status", "phase"), "MESSAGE": _at("status", "message")},
    "Event": {"TYPE": _at("type"), "REASON": _at("reason"), "MESSAGE": _at("message")},
    "Lease": {"HOLDER": _at("spec", "holderIdentity")},
}


def _age(obj: Object, now: datetime) -> str:
    """`45s`, `12m`, `3h`, `9d`."""
    try:
        seconds = int((now - parse_time(obj["metadata"]["creationTimestamp"])).total_seconds())
    except (KeyError, ValueError):
        return ""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(0, seconds)}s"


def _text(value: object) -> str:
    return "" if value is None else " ".join(str(value).split())
