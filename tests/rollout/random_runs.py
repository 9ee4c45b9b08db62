"""Random rollouts and random orders of what can happen to them."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from agent.api.meta import Ref
from tests.rollout import given
from tests.rollout.world import ROUTE, World

WEIGHT = st.integers(0, 100)
STEP: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"setWeight": WEIGHT}),
    st.just({"pause": {}}),
    st.fixed_dictionaries({"pause": st.fixed_dictionaries({"duration": st.integers(1, 9)})}),
    st.just({"analysis": given.ANALYSIS}),
)
SCALE_STEP: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries(
        {"setCanaryScale": st.fixed_dictionaries({"replicas": st.integers(0, 4)})}
    ),
    st.just({"setCanaryScale": {"matchTrafficWeight": True}}),
)
EXPOSING = st.fixed_dictionaries({"setWeight": st.integers(1, 100)})


def _lists(step: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Steps of any kind, most of which begin with traffic: little can go wrong without any."""
    exposed = st.tuples(EXPOSING, st.lists(step, max_size=5)).map(lambda made: [made[0], *made[1]])
    return exposed | exposed | exposed | st.lists(step, max_size=6)


STEPS = _lists(STEP)
STEPS_WITH_SCALES = _lists(STEP | SCALE_STEP)
UNDER_WAY: tuple["Event", ...] = (
    ("image", "v2"), ("passes", 6), ("time", 5), ("passes", 6),
)  # fmt: skip
"""A new version, and the passes in which it gets its pods, its name and its first weight."""
CANARY: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "dynamicStableScale": st.booleans(),
        "scaleDownDelaySeconds": st.integers(0, 5),
        "abortScaleDownDelaySeconds": st.integers(0, 5),
        "analysis": st.just({**given.ANALYSIS, "startingStep": 1}),
    },
).filter(
    lambda canary: not (canary.get("dynamicStableScale") and "scaleDownDelaySeconds" in canary)
)

Event = tuple[str, Any]
EVENT: st.SearchStrategy[Event] = st.one_of(
    st.tuples(st.just("image"), st.sampled_from(["v1", "v2", "v3"])),
    st.tuples(st.sampled_from(["unhealthy", "healthy"]), st.sampled_from(["v1", "v2", "v3"])),
    st.tuples(st.sampled_from(["abort", "retry", "promote", "promote full"]), st.none()),
    st.tuples(st.sampled_from(["pause", "unpause", "hold", "release"]), st.none()),
    st.tuples(
        st.just("analysis"), st.sampled_from(["Successful", "Failed", "Error", "Inconclusive"])
    ),
    st.tuples(st.just("time"), st.integers(1, 40)),
    st.tuples(st.just("passes"), st.sampled_from([1, 2, 3, 10])),
)
SCALE: st.SearchStrategy[Event] = st.tuples(st.just("scale"), st.integers(0, 10))
FOREIGN: st.SearchStrategy[Event] = st.tuples(st.just("foreign"), WEIGHT)
EVENTS = st.lists(EVENT, max_size=14)
ALL_EVENTS = st.lists(EVENT | SCALE | FOREIGN, max_size=14)

_DO: Mapping[str, Callable[[World, Any], None]] = {
    "image": lambda world, image: world.set_image(image),
    "unhealthy": lambda world, image: world.unhealthy.add(image),
    "healthy": lambda world, image: world.unhealthy.discard(image),
    "abort": lambda world, _: given.abort(world),
    "retry": lambda world, _: given.retry(world),
    "promote": lambda world, _: given.promote(world),
    "promote full": lambda world, _: given.promote_full(world),
    "pause": lambda world, _: world.patch({"spec": {"paused": True}}),
    "unpause": lambda world, _: world.patch({"spec": {"paused": False}}),
    "hold": lambda world, _: given.hold(world),
    "release": lambda world, _: given.release(world),
    "analysis": lambda world, phase: world.analysis(phase, "said so"),
    "scale": lambda world, count: world.edit(lambda spec: spec.update(replicas=count)),
    "foreign": lambda world, weight: world.objects.update({ROUTE: {"weight": weight}}),
}


def play(world: World, event: Event, looked: Callable[[], None] = lambda: None) -> None:
    """Let one thing happen, then one pass (or as many as it says); `looked` is called after each."""
    what, value = event
    count = 1
    if what == "time":
        world.now += timedelta(seconds=value)
    elif what == "passes":
        count = value
    else:
        _DO[what](world, value)
    for _ in range(count):
        world.pods_follow()
        world.one_pass()
        world.pods_follow()
        looked()


def replica_set_of(world: World, name: str) -> dict[str, Any] | None:
    """The ReplicaSet that a Service selects."""
    chosen = world.objects[Ref("Service", "default", name)]["spec"]["selector"]
    pod_hash = chosen.get("rollouts-pod-template-hash")
    for item in world.of("ReplicaSet"):
        if item["metadata"]["labels"]["rollouts-pod-template-hash"] == pod_hash:
            return item
    return None


def available(replica_set: dict[str, Any] | None) -> int:
    """Its available pods, 0 for none."""
    return ((replica_set or {}).get("status") or {}).get("availableReplicas") or 0
