"""A weight that the requests must show: raises wait for it under its name, lowers never do (I1, I2, I9)."""

from typing import Any

import pytest

from agent.api.decode import read
from agent.api.names import CONFIRM_SHARES, SHARES
from agent.api.rollout import Rollout
from agent.rollout.share_confirmation import asked_for, canary_names, istio_query, noted
from agent.rollout.types import Policy
from tests.rollout import given
from tests.rollout.istio_world import istio_world, weights
from tests.rollout.world import World

STEPS: list[dict[str, Any]] = [{"setWeight": 20}, {"setWeight": 60}]


def updating(**options: Any) -> World:
    world = istio_world(STEPS, policy=Policy(drain_seconds=0), **options)
    given.annotate(world, CONFIRM_SHARES, "istio")
    world.set_image("v2")
    world.settle()
    return world


def show(world: World, state: str, *, weight: int | None = None, text: str = "") -> None:
    """What the requests showed is noted for the present weight (or another one)."""
    about = f"{world.status['currentPodHash']}:{weights(world)[1] if weight is None else weight}"
    given.annotate(world, SHARES, f"{about}={state} {text}")
    world.settle()


def verified(world: World) -> bool | None:
    found: bool | None = world.status["canary"]["weights"].get("verified")
    return found


def test_every_raise_waits_until_the_requests_show_the_weight() -> None:
    world = updating()
    assert (weights(world), verified(world)) == ([80, 20], False)
    assert world.status["currentStepIndex"] == 0
    why = given.why(world)
    assert "the requests do not show weight 20 yet: nobody has counted them yet" in why
    assert f"taking {CONFIRM_SHARES} away goes on without" in why
    show(world, "confirmed")
    assert (weights(world), world.status["currentStepIndex"]) == ([40, 60], 1)
    assert verified(world) is False, "the new weight was not shown yet"
    show(world, "confirmed")
    assert weights(world) == [0, 100]
    assert world.status["phase"] == "Progressing"
    show(world, "confirmed")
    assert (world.status["phase"], weights(world)) == ("Healthy", [100, 0])
    assert verified(world) is None


@pytest.mark.parametrize(
    ("state", "weight"), [("few", 20), ("off", 20), ("absent", 20), ("what", 20), ("confirmed", 21)]
)
def test_missing_few_or_other_requests_confirm_nothing(state: str, weight: int) -> None:
    world = updating()
    show(world, state, weight=weight, text="as it was told")
    assert (weights(world), verified(world)) == ([80, 20], False)
    told = state in ("few", "off", "absent")
    assert ("as it was told" in given.why(world)) is told


def test_a_note_about_another_version_confirms_nothing() -> None:
    world = updating()
    given.annotate(world, SHARES, "another:20=confirmed all is well")
    world.settle()
    assert weights(world) == [80, 20]


def test_the_wait_has_a_deadline() -> None:
    world = updating()
    world.after(601)
    assert world.status["phase"] == "Degraded"
    assert "has timed out progressing" in world.status["message"]
    assert weights(world) == [80, 20]


def test_without_the_annotation_it_goes_on() -> None:
    world = updating()
    given.annotate(world, CONFIRM_SHARES, None)
    world.settle()
    assert world.status["phase"] == "Healthy"


def test_i2_an_abort_does_not_wait_for_anything() -> None:
    world = updating()
    given.abort(world)
    world.settle()
    assert weights(world) == [100, 0]
    world.after(40)
    assert world.pods() == {"v1": 10}, "nor do its pods"


def test_a_newer_version_takes_the_weight_off_without_waiting() -> None:
    world = updating()
    world.set_image("v3")
    passes = len(world.decisions)
    world.settle()
    lowered = [
        w.canary_weight for d in world.decisions[passes:] for w in d.writes if w.canary_weight == 0
    ]
    assert lowered == [0]


def test_nothing_is_asked_for_before_and_after_a_run() -> None:
    status = {"stableRS": "a", "currentPodHash": "b"}
    manifest = {"metadata": {"annotations": {CONFIRM_SHARES: "istio"}}, **given.rollout()}
    for changed, weight, expected in (
        ({}, 20, "b:20"),
        ({}, 0, ""),
        ({}, None, ""),
        ({"abort": True}, 20, ""),
        ({"currentPodHash": "a"}, 100, ""),
        ({"stableRS": ""}, 20, ""),
    ):
        rollout = read(Rollout, {**manifest, "status": {**status, **changed}})
        assert asked_for(rollout, weight) == expected
    assert noted(rollout, "").state == "absent"


def test_what_is_asked_of_prometheus() -> None:
    metadata = {"namespace": "shop", "name": "web"}
    rollout = read(
        Rollout, {"metadata": metadata, **given.rollout(), "status": {"currentPodHash": "h"}}
    )
    assert istio_query(rollout) == (
        'sum by (destination_service_name) (istio_requests_total{reporter="source",'
        'destination_service_namespace="shop",destination_service_name=~"canary|stable"})'
    )
    assert canary_names(rollout) == ("canary", "h")
