"""Experiments as weighted destinations: from the status of an Experiment to the route and the record of it.

The step itself is not driven yet, so that the parts are put together here as a pass puts them together.
"""

import msgspec
import pytest

from agent.api.decode import read
from agent.api.meta import Object, Ref
from agent.api.rollout import Rollout, TrafficWeights, WeightDestination
from agent.rollout import routes
from agent.rollout.draft import Draft
from agent.rollout.experiment_weights import current_experiment, weighted_destinations
from agent.rollout.facts import read_facts
from agent.rollout.types import Write
from agent.traffic.istio import Istio
from tests.rollout import given
from tests.rollout.istio_world import ROUTE, istio_world
from tests.rollout.world import World

TEMPLATES = [
    {"name": "new", "specRef": "canary", "weight": 5},
    {"name": "idle", "specRef": "stable"},
    {"name": "base", "specRef": "stable", "weight": 15},
]
STATUS: Object = {
    "phase": "Running",
    "templateStatuses": [
        {"name": "new", "serviceName": "exp-new", "podTemplateHash": "h-new"},
        {"name": "idle", "serviceName": "exp-idle", "podTemplateHash": "h-idle"},
        {"name": "base", "serviceName": "exp-base", "podTemplateHash": "h-base"},
    ],
}
BOTH = (
    WeightDestination(weight=5, service_name="exp-new", pod_template_hash="h-new"),
    WeightDestination(weight=15, service_name="exp-base", pod_template_hash="h-base"),
)


def a_rollout(index: int) -> Rollout:
    steps: list[Object] = [
        {"setWeight": 10},
        {"experiment": {"templates": TEMPLATES}},
        {"setWeight": 30},
    ]
    status = {"currentStepIndex": index, "canary": {"currentExperiment": "e1"}}
    return read(Rollout, {**given.rollout(steps), "status": status})


@pytest.mark.parametrize(
    ("index", "status", "wanted"),
    [
        pytest.param(0, STATUS, (), id="before its step"),
        pytest.param(1, STATUS, BOTH, id="in its step"),
        pytest.param(2, STATUS, BOTH, id="until it has ended"),
        pytest.param(1, {**STATUS, "phase": "Successful"}, (), id="it has ended"),
        pytest.param(1, {}, (), id="it has not begun"),
        pytest.param(1, {**STATUS, "templateStatuses": "x"}, (), id="nobody can read it"),
        pytest.param(1, {"phase": "Running", "templateStatuses": [{"name": "new"}]}, (WeightDestination(weight=5),), id="without a service"),
    ],
)  # fmt: skip
def test_running_templates_with_a_weight_get_it(
    index: int, status: Object, wanted: tuple[WeightDestination, ...]
) -> None:
    assert weighted_destinations(a_rollout(index), {"status": status}) == wanted


def test_the_current_experiment_is_the_one_that_the_status_names() -> None:
    found = [{"metadata": {"name": name}} for name in ("e0", "e1")]
    assert current_experiment(a_rollout(1), found) == found[1]
    assert current_experiment(a_rollout(1), found[:1]) is None
    assert current_experiment(read(Rollout, given.rollout()), found) is None


class Run:
    """A canary at 10 %, and an experiment beside it; every pass reads and writes the world's route."""

    def __init__(self) -> None:
        self.world = istio_world([{"setWeight": 10}, {"pause": {}}])
        self.world.set_image("v2")
        self.world.settle()
        self.experiment: Object = {"metadata": {"name": "e1"}, "status": STATUS}

    def one_pass(self) -> list[Write]:
        """Record and move; the writes that were carried out."""
        world = self.world
        observation = world.observe()
        manifest = _with_experiment(observation.rollout)
        seen = msgspec.structs.replace(
            observation, rollout=manifest, experiments=(self.experiment,)
        )
        draft = Draft(read_facts(seen, Istio(), read(Rollout, manifest)))
        routes.record_weight(draft)
        routes.move(draft)
        for write in draft.writes:
            if write.ref == ROUTE:
                world._write(write)
        weights = msgspec.to_builtins(draft.status.canary.weights)
        assert isinstance(weights, dict)
        self.recorded: TrafficWeights | None = draft.status.canary.weights
        world.patch(
            {"status": {"canary": {"weights": weights | {"additional": weights.get("additional")}}}}
        )
        return [write for write in draft.writes if write.ref == ROUTE]

    def weights(self) -> dict[str, int]:
        (route,) = (r for r in _http(self.world) if r.get("name") == "primary")
        return {item["destination"]["host"]: item["weight"] for item in route["route"]}


def _http(world: World) -> list[Object]:
    found: list[Object] = world.objects[Ref("VirtualService", "default", "web")]["spec"]["http"]
    return found


def _with_experiment(rollout: Object) -> Object:
    spec = {**rollout["spec"]}
    canary = {**spec["strategy"]["canary"]}
    canary["steps"] = [{"setWeight": 10}, {"experiment": {"templates": TEMPLATES}}]
    status = {**rollout["status"], "currentStepIndex": 1}
    status["canary"] = {**status["canary"], "currentExperiment": "e1"}
    return {**rollout, "spec": {**spec, "strategy": {"canary": canary}}, "status": status}


def test_an_experiment_comes_onto_the_route_is_recorded_when_read_back_and_leaves_it() -> None:
    made = Run()
    assert made.weights() == {"stable": 90, "canary": 10}
    (write,) = made.one_pass()
    assert made.weights() == {"stable": 70, "canary": 10, "exp-new": 5, "exp-base": 15}
    assert made.recorded is not None
    assert not made.recorded.additional, "what was written is not yet what was read"
    assert made.one_pass() == []
    assert made.recorded.additional == list(BOTH)
    assert made.recorded.stable.weight == 70
    made.experiment["status"] = {**STATUS, "phase": "Successful"}
    made.one_pass()
    assert made.weights() == {"stable": 90, "canary": 10}
    assert made.recorded.additional == list(BOTH), "until it was read that they are gone"
    assert made.one_pass() == []
    assert not made.recorded.additional
    assert made.recorded.stable.weight == 90
    assert write.guarded, "a raise: users reach what they did not reach before"


def test_an_abort_takes_the_experiment_off_in_the_same_write() -> None:
    made = Run()
    made.one_pass()
    made.one_pass()
    made.world.patch({"status": {"abort": True}})
    (write,) = made.one_pass()
    assert not write.guarded
    assert made.weights() == {"stable": 100, "canary": 0}
