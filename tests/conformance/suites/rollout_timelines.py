"""rollout-timelines: a whole Rollout through scripted events, settled at each moment."""

from datetime import timedelta
from typing import Any

from agent.api.decode import read
from agent.api.names import POD_TEMPLATE_HASH
from agent.api.rollout import Rollout
from agent.api.times import parse_time
from agent.rollout import operator
from tests.conformance.cases import Unsupported
from tests.conformance.compare import differences
from tests.rollout.world import World, image_of


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    if given["rollout"]["spec"]["strategy"].get("blueGreen") is not None:
        raise Unsupported("blue-green is not driven yet")
    start = parse_time(given["start"])
    world = World(
        given["rollout"],
        start=start,
        services=given.get("services") or (),
        templates=given.get("analysisTemplates") or (),
        unhealthy=given.get("unhealthyImages") or (),
    )
    events = sorted(given["events"], key=lambda event: event["at"])
    lines: list[str] = []
    for moment in expect["moments"]:
        while events and events[0]["at"] <= moment["at"]:
            second = events[0]["at"]
            world.until(start + timedelta(seconds=second))
            while events and events[0]["at"] == second:
                _do(world, events.pop(0))
            world.settle()
        world.until(start + timedelta(seconds=moment["at"]))
        world.settle()
        wanted = _resolved({k: v for k, v in moment.items() if k != "at"}, world)
        got = _seen(world)
        lines += [f"at {moment['at']}: {line}" for line in differences(wanted, got)]
    return lines


def _do(world: World, event: dict[str, Any]) -> None:
    action = event["do"]
    if action == "setImage":
        world.set_image(event["image"])
    elif action == "scale":
        world.edit(lambda spec: spec.update(replicas=event["replicas"]))
    elif action == "setSteps":
        world.edit(lambda spec: spec["strategy"]["canary"].update(steps=event["steps"]))
    elif action in ("imageHealthy", "imageUnhealthy"):
        (world.unhealthy.discard if action == "imageHealthy" else world.unhealthy.add)(
            event["image"]
        )
    elif action == "analysis":
        world.analysis(event["phase"], event.get("message", ""), event.get("kind", ""))
    elif action == "pause":
        world.patch({"spec": {"paused": True}})
    elif action == "unpause":
        world.patch({"spec": {"paused": False}})
    else:
        _command(world, action)


def _command(world: World, action: str) -> None:
    rollout = read(Rollout, world.rollout)
    intent = {
        "abort": lambda: operator.ABORT,
        "retry": lambda: operator.RETRY,
        "promote": lambda: operator.promote(rollout),
        "promoteFull": lambda: operator.promote_full(rollout),
    }[action]()
    for patch in intent.patches:
        world.patch(patch.body)


def _seen(world: World) -> dict[str, Any]:
    status, images = world.status, world.images()
    services = {}
    for service in world.of("Service"):
        selected = service["spec"]["selector"].get(POD_TEMPLATE_HASH)
        if selected:
            services[service["metadata"]["name"]] = images.get(selected, selected)
    return {
        "phase": status.get("phase"),
        "message": status.get("message") or None,
        "stepIndex": status.get("currentStepIndex"),
        "stable": images.get(status.get("stableRS", ""), ""),
        "current": images.get(status.get("currentPodHash", ""), ""),
        "abort": status.get("abort", False),
        "promoteFull": status.get("promoteFull", False),
        "pauseReasons": [item["reason"] for item in status.get("pauseConditions") or ()],
        "pods": world.pods(),
        "canaryWeight": world.weight,
        "services": services,
        "analysisRuns": [_run(run) for run in world.of("AnalysisRun")],
    }


def _run(run: dict[str, Any]) -> dict[str, Any]:
    seen = {
        "name": run["metadata"]["name"],
        "kind": run["metadata"]["labels"]["rollout-type"],
        "phase": run["status"]["phase"],
    }
    return {**seen, "terminated": True} if run["spec"].get("terminate") else seen


def _resolved(value: Any, world: World) -> Any:
    """Placeholders of revisions as the names that this engine gave them."""
    if isinstance(value, dict):
        return {key: _resolved(item, world) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, world) for item in value]
    if isinstance(value, str):
        for rs in world.of("ReplicaSet"):
            value = value.replace(f"<ReplicaSet of {image_of(rs)}>", rs["metadata"]["name"])
            value = value.replace(
                f"<hash of {image_of(rs)}>", rs["metadata"]["labels"][POD_TEMPLATE_HASH]
            )
    return value
