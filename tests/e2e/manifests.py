"""What a user applies in the process tests."""

from typing import Any

import msgspec

from agent.api.meta import Object
from agent.demo import manifests
from agent.demo.manifests import Setup
from tests.e2e.canary import NAME, NAMESPACE

__all__ = ["NAME", "annotated", "indefinite", "page", "renamed", "short"]


def page(prometheus: str, *, speed: float = 60.0) -> list[Object]:
    """The page's manifests, completed, with pauses and intervals divided by `speed`."""
    made = manifests.complete(Setup(name=NAME, namespace=NAMESPACE, prometheus=prometheus))
    return [manifests.hasten(obj, speed)[0] for obj in made]


def short() -> list[Object]:
    """Two weights and two pauses of a second: long enough to die at every point of it."""
    pause = {"pause": {"duration": 1}}
    return _with_steps([{"setWeight": 20}, pause, {"setWeight": 60}, pause])


def indefinite() -> list[Object]:
    """One weight, then a pause that waits for a person."""
    return _with_steps([{"setWeight": 20}, {"pause": {}}])


def _with_steps(steps: list[dict[str, Any]]) -> list[Object]:
    objects = page("http://127.0.0.1:9")
    rollout = next(obj for obj in objects if obj["kind"] == "Rollout")
    canary: dict[str, Any] = rollout["spec"]["strategy"]["canary"]
    spec = {
        **rollout["spec"],
        "strategy": {"canary": {**canary, "steps": steps, "scaleDownDelaySeconds": 1}},
    }
    kept = [obj for obj in objects if obj["kind"] not in ("Rollout", "AnalysisTemplate")]
    return [*kept, {**rollout, "spec": spec}]


def annotated(objects: list[Object], **annotations: str) -> list[Object]:
    """The objects with annotations (dots and slashes as `__` and `_of_`) on the Rollout."""
    names = {key.replace("__", "."): value for key, value in annotations.items()}
    return [
        {
            **obj,
            "metadata": {
                **obj["metadata"],
                "annotations": {f"serinus.dev/{k}": v for k, v in names.items()},
            },
        }
        if obj["kind"] == "Rollout"
        else obj
        for obj in objects
    ]


def renamed(objects: list[Object], namespace: str, name: str = NAME) -> list[Object]:
    """The same for another namespace, and for another name wherever the page's stands."""
    text = msgspec.json.encode(objects).replace(NAME.encode(), name.encode())
    copies: list[Object] = msgspec.json.decode(text)
    return [{**obj, "metadata": {**obj["metadata"], "namespace": namespace}} for obj in copies]
