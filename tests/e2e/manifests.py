"""What a user applies in the process tests."""

from typing import Any

import msgspec

from agent.api.meta import Object
from agent.demo import manifests
from agent.demo.manifests import Setup
from tests.e2e.canary import NAME, NAMESPACE

__all__ = [
    "NAME",
    "annotated",
    "everything",
    "in_namespace",
    "indefinite",
    "page",
    "renamed",
    "short",
    "steps_of",
]


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


def everything(prometheus: str) -> list[Object]:
    """Two routes, a pause that waits for a person, an analysis, a pause that ends by itself."""
    objects = _with_steps(
        [
            {"setWeight": 20},
            {"pause": {}},
            {"analysis": {"templates": [{"templateName": "success-rate"}]}},
            {"setWeight": 60},
            {"pause": {"duration": 1}},
        ]
    )
    template = next(obj for obj in page(prometheus) if obj["kind"] == "AnalysisTemplate")
    route = next(obj for obj in objects if obj["kind"] == "VirtualService")
    second = {
        **route,
        "metadata": {**route["metadata"], "name": f"{NAME}-two"},
        "spec": {**route["spec"], "hosts": [f"{NAME}-two"]},
    }
    rollout = objects.pop()
    canary: dict[str, Any] = rollout["spec"]["strategy"]["canary"]
    istio = {**canary["trafficRouting"]["istio"]}
    istio["virtualServices"] = [istio.pop("virtualService"), {"name": f"{NAME}-two"}]
    strategy = {"canary": {**canary, "trafficRouting": {"istio": istio}}}
    spec = {**rollout["spec"], "strategy": strategy, "replicas": 2}
    return [*objects, second, template, {**rollout, "spec": spec}]


def steps_of(objects: list[Object]) -> list[dict[str, Any]]:
    """The steps of the Rollout among them."""
    rollout = next(obj for obj in objects if obj["kind"] == "Rollout")
    steps: list[dict[str, Any]] = rollout["spec"]["strategy"]["canary"]["steps"]
    return steps


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
    return in_namespace(msgspec.json.decode(text), namespace)


def in_namespace(objects: list[Object], namespace: str) -> list[Object]:
    """The objects, moved to another namespace."""
    return [{**obj, "metadata": {**obj["metadata"], "namespace": namespace}} for obj in objects]
