"""The invariants of docs/architecture.md over random rollouts and random orders of events."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import given as over
from hypothesis import strategies as st

from agent.api import names
from agent.rollout.types import Policy, Stage, Write
from tests.rollout import given
from tests.rollout import random_runs as runs
from tests.rollout.world import ROUTE, World

MODEST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
REPLICAS = st.integers(0, 10)
POLICY = st.sampled_from([Policy(drain_seconds=0), Policy(drain_seconds=3)])


def _run(
    steps: list[dict[str, Any]],
    replicas: int,
    canary: dict[str, Any],
    policy: Policy,
    events: list[runs.Event],
    watch: Callable[[World, Write], None] = lambda _world, _write: None,
    looked: Callable[[World], None] = lambda _world: None,
) -> World:
    """v1 is stable, v2 is on its way, then come the events; `watch` sees every write before it is done."""
    world = given.stable(steps, replicas=replicas, canary=canary, policy=policy)
    world.on_write = lambda write: watch(world, write)
    for event in (*runs.UNDER_WAY, *events):
        runs.play(world, event, lambda: looked(world))
    return world


def _is_raise(world: World, write: Write) -> bool:
    return write.ref == ROUTE and (write.canary_weight or 0) > world.weight


def _step_weight(world: World) -> int:
    """The highest weight that the steps up to the present one allow."""
    steps = world.rollout["spec"]["strategy"]["canary"]["steps"]
    index = world.status.get("currentStepIndex") or 0
    if world.status.get("promoteFull") or index >= len(steps):
        return 100
    allowed: list[int] = [step.get("setWeight", 0) for step in steps[: index + 1]]
    return max([0, *allowed])


def _check_raise(world: World, write: Write) -> None:
    if not _is_raise(world, write):
        return
    weight, status = write.canary_weight or 0, world.status
    assert weight <= _step_weight(world), "a step before it is not complete"
    assert not status.get("abort"), "aborted"
    assert names.PAUSE_HOLD not in given.reasons(world), "held"
    canary = runs.replica_set_of(world, "canary")
    total = world.rollout["spec"]["replicas"]
    assert runs.available(canary) >= math.ceil(weight * total / 100), "its pods are not ready"
    assert canary is not None
    assert canary["metadata"]["labels"][names.POD_TEMPLATE_HASH] == status["currentPodHash"]
    for field in ("currentStepAnalysisRunStatus", "currentBackgroundAnalysisRunStatus"):
        run = status.get("canary", {}).get(field) or {}
        assert run.get("status") not in ("Failed", "Error"), "a verdict stands against it"


@MODEST
@over(runs.STEPS, st.integers(1, 10), runs.CANARY, POLICY, runs.EVENTS)
def test_i1_the_weight_rises_only_when_nothing_stands_against_it(
    steps: list[dict[str, Any]],
    replicas: int,
    canary: dict[str, Any],
    policy: Policy,
    events: list[runs.Event],
) -> None:
    _run(steps, replicas, canary, policy, events, _check_raise)


def _check_fall(world: World, write: Write) -> None:
    if write.ref == ROUTE and world.status.get("abort"):
        assert write.canary_weight is not None
        assert write.canary_weight < world.weight, "after an abort the weight only falls"


@MODEST
@over(runs.STEPS_WITH_SCALES, REPLICAS, runs.CANARY, POLICY, runs.ALL_EVENTS)
def test_i2_every_state_can_be_rolled_back(
    steps: list[dict[str, Any]],
    replicas: int,
    canary: dict[str, Any],
    policy: Policy,
    events: list[runs.Event],
) -> None:
    world = _run(steps, replicas, canary, policy, events, _check_fall)
    if world.status["stableRS"] == world.status["currentPodHash"]:
        return
    world.unhealthy.clear()
    for _ in range(2):
        given.abort(world)
        world.settle()
        world.after(10)
    if world.status["stableRS"] != world.status["currentPodHash"]:
        assert world.weight == 0
        assert world.status["phase"] == "Degraded"


def _check_pods(world: World, write: Write) -> None:
    total = world.rollout["spec"]["replicas"]
    ready = {
        name: runs.available(runs.replica_set_of(world, name)) for name in ("stable", "canary")
    }
    if write.ref == ROUTE and write.canary_weight is not None and total:
        to = "canary" if write.canary_weight > world.weight else "stable"
        other = "stable" if to == "canary" else "canary"
        assert ready[to] or not ready[other], f"weight moves to {to}, which has no pods"
    if write.ref.kind != "ReplicaSet" or write.stage is not Stage.PODS_DOWN:
        return
    count = ((write.body or {}).get("spec") or {}).get("replicas")
    if count is None or not total:
        return
    shares = {"canary": world.weight, "stable": 100 - world.weight}
    for name, share in shares.items():
        item = runs.replica_set_of(world, name)
        if item is not None and item["metadata"]["name"] == write.ref.name and share:
            least = min(math.floor(share * total / 100), runs.available(item))
            assert count >= max(least, 1), f"{name} carries {share} and gets {count} pods"


@MODEST
@over(runs.STEPS_WITH_SCALES, st.integers(1, 10), runs.CANARY, POLICY, runs.EVENTS)
def test_i3_pods_behind_a_weight_stay(
    steps: list[dict[str, Any]],
    replicas: int,
    canary: dict[str, Any],
    policy: Policy,
    events: list[runs.Event],
) -> None:
    _run(steps, replicas, canary, policy, events, _check_pods)


def _check_guard(world: World, write: Write) -> None:
    selects = write.ref.kind == "Service"
    body = write.body if isinstance(write.body, dict) else {}
    count = (body.get("spec") or {}).get("replicas")
    removes = write.ref.kind == "ReplicaSet" and (
        write.verb == "delete"
        or (
            write.verb == "merge"
            and count is not None
            and count < world.objects[write.ref]["spec"]["replicas"]
        )
    )
    if selects or removes or _is_raise(world, write):
        assert write.guarded, write
        assert write.stage > Stage.FENCE


@MODEST
@over(runs.STEPS_WITH_SCALES, REPLICAS, runs.CANARY, POLICY, runs.ALL_EVENTS)
def test_i6_what_needs_the_fence_says_so(
    steps: list[dict[str, Any]],
    replicas: int,
    canary: dict[str, Any],
    policy: Policy,
    events: list[runs.Event],
) -> None:
    _run(steps, replicas, canary, policy, events, _check_guard)


def _check_why(world: World) -> None:
    decision = world.decisions[-1]
    assert decision.status["phase"] == "Healthy" or decision.why, decision.status


@MODEST
@over(runs.STEPS_WITH_SCALES, REPLICAS, runs.CANARY, POLICY, runs.ALL_EVENTS)
def test_i9_every_wait_has_a_name(
    steps: list[dict[str, Any]],
    replicas: int,
    canary: dict[str, Any],
    policy: Policy,
    events: list[runs.Event],
) -> None:
    _run(steps, replicas, canary, policy, events, looked=_check_why)


_SAME = """
import msgspec
from tests.rollout import given
world = given.updating(canary={"analysis": given.ANALYSIS})
given.hold(world); world.settle(); given.promote(world); world.settle()
given.abort(world); world.settle(); world.set_image("v3"); world.settle()
print(msgspec.json.encode([d.writes for d in world.decisions]).decode())
print(msgspec.json.encode([d.announce for d in world.decisions]).decode())
print(msgspec.json.encode([d.status for d in world.decisions]).decode())
"""


def test_the_order_of_hashes_has_no_part_in_a_decision() -> None:
    outputs = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", _SAME],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=60,
        )
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1] != b""
