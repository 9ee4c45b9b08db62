"""Worlds that scenarios start from, and what people do in them. Image v1 is stable, v2 comes after it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from agent.api import names
from agent.api.decode import read
from agent.api.holds import Hold, encode_holds
from agent.api.meta import Object, Ref
from agent.api.rollout import Rollout
from agent.api.times import format_time
from agent.rollout import operator
from agent.rollout.types import Decision, Policy
from tests.rollout.world import ROUTE, World, at

START = at("2024-05-01T10:00:00Z")
TEMPLATE: Object = {
    "metadata": {"name": "checks", "namespace": "default"},
    "spec": {"metrics": [{"name": "errors", "provider": {"web": {"url": "http://metrics"}}}]},
}
ANALYSIS = {"templates": [{"templateName": "checks"}]}
STEPS: Sequence[dict[str, Any]] = (
    {"setWeight": 20},
    {"pause": {}},
    {"setWeight": 50},
    {"pause": {"duration": 60}},
)


def rollout(
    steps: Sequence[dict[str, Any]] | None = STEPS,
    *,
    replicas: int | None = 10,
    routed: bool = True,
    canary: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
) -> Object:
    """A Rollout of image v1 with Services `canary` and `stable` when it is routed."""
    strategy: dict[str, Any] = {"steps": list(steps)} if steps is not None else {}
    if routed:
        strategy |= {
            "canaryService": "canary",
            "stableService": "stable",
            "trafficRouting": {"smi": {}},
        }
    made: dict[str, Any] = {
        "selector": {"matchLabels": {"app": "demo"}},
        "template": {
            "metadata": {"labels": {"app": "demo"}},
            "spec": {"containers": [{"name": "main", "image": "v1"}]},
        },
        "strategy": {"canary": strategy | (canary or {})},
    }
    if replicas is not None:
        made["replicas"] = replicas
    return {"spec": made | (spec or {})}


def stable(
    steps: Sequence[dict[str, Any]] | None = STEPS,
    *,
    policy: Policy | None = None,
    templates: Sequence[Object] = (TEMPLATE,),
    **given: Any,
) -> World:
    """v1 is deployed and everything is quiet. `given` are the arguments of `rollout`."""
    world = World(
        rollout(steps, **given),
        start=START,
        services=("canary", "stable"),
        templates=templates,
        policy=policy,
    )
    world.settle()
    assert world.status["phase"] == "Healthy", world.status
    world.decisions.clear()
    return world


def updating(steps: Sequence[dict[str, Any]] | None = STEPS, **given: Any) -> World:
    """v2 was set a moment ago, and all that can happen at once has happened."""
    world = stable(steps, **given)
    world.set_image("v2")
    world.settle()
    return world


# What people do.


def _send(world: World, intent: operator.Intent) -> None:
    for patch in intent.patches:
        world.patch(patch.body)


def abort(world: World) -> None:
    _send(world, operator.ABORT)


def retry(world: World) -> None:
    _send(world, operator.RETRY)


def promote(world: World) -> None:
    _send(world, operator.promote(read(Rollout, world.rollout)))


def promote_full(world: World) -> None:
    _send(world, operator.promote_full(read(Rollout, world.rollout)))


def hold(world: World, alert: str = "HighErrors") -> None:
    """An alert begins to hold, as the engine notes it."""
    made = Hold(
        fingerprint=f"fp-{alert}",
        starts_at=format_time(world.now),
        since=format_time(world.now),
        alert=alert,
        reason="label match below critical",
    )
    annotate(world, names.HOLDS, encode_holds((made,)))


def release(world: World) -> None:
    """The last alert is resolved."""
    annotate(world, names.HOLDS, None)


def annotate(world: World, name: str, value: str | None) -> None:
    world.patch({"metadata": {"annotations": {name: value}}})


# What is seen.


def service(world: World, name: str) -> str:
    """The image that a Service selects, "" for none."""
    selector = world.objects[Ref("Service", "default", name)]["spec"]["selector"]
    return world.images().get(selector.get(names.POD_TEMPLATE_HASH, ""), "")


def reasons(world: World) -> list[str]:
    """Reasons of the pause conditions."""
    return [item["reason"] for item in world.status.get("pauseConditions") or ()]


def why(world: World) -> str:
    return world.decisions[-1].why


def condition(world: World, type_: str) -> dict[str, Any]:
    """A condition of the status, {} when it is not there."""
    found = (item for item in world.status.get("conditions") or () if item["type"] == type_)
    return next(found, {})


def weights(world: World) -> list[int]:
    """The canary's weights that decisions asked for, without repetitions in a row."""
    made: list[int] = []
    for decision in world.decisions:
        for write in decision.writes:
            weight = write.canary_weight
            if write.ref == ROUTE and weight is not None and made[-1:] != [weight]:
                made.append(weight)
    return made


def step_by_step(world: World, seconds: float) -> list[Decision]:
    """One pass per second, whatever was asked for; the decisions."""
    first = len(world.decisions)
    for _ in range(int(seconds)):
        world.now += timedelta(seconds=1)
        world.pods_follow()
        world.one_pass()
    return world.decisions[first:]
