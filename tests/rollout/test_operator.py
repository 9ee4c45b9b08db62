"""Intents as Argo's command line writes them."""

from typing import Any

import pytest

from agent.api.decode import read
from agent.api.rollout import Rollout
from agent.errors import Refused
from agent.rollout import operator
from agent.rollout.operator import Intent, Patch
from agent.rollout.replica_sets import ReplicaSetView, view

STEPS: dict[str, Any] = {"canary": {"steps": [{"setWeight": 5}, {"pause": {}}, {"setWeight": 50}]}}
PAUSED: dict[str, Any] = {
    "pauseConditions": [{"reason": "CanaryPauseStep", "startTime": "2024-05-01T10:00:00Z"}],
    "controllerPause": True,
}
INCONCLUSIVE: dict[str, Any] = {
    **PAUSED,
    "canary": {"currentStepAnalysisRunStatus": {"name": "r", "status": "Inconclusive"}},
}
UPDATING: dict[str, Any] = {"stableRS": "a", "currentPodHash": "b"}


def rollout(strategy: dict[str, Any], status: dict[str, Any], **spec: Any) -> Rollout:
    manifest = {
        "metadata": {"name": "web"},
        "spec": {"strategy": strategy, **spec},
        "status": {**UPDATING, **status},
    }
    return read(Rollout, manifest)


def status(**fields: Any) -> Patch:
    return Patch("status", {"status": fields})


UNPAUSE = Patch("object", {"spec": {"paused": False}})


@pytest.mark.parametrize(
    ("given", "patches", "skips"),
    [
        pytest.param(rollout(STEPS, {**PAUSED, "currentStepIndex": 1}), [status(pauseConditions=None)], False, id="ends a pause"),
        pytest.param(rollout(STEPS, {"currentStepIndex": 2}), [status(pauseConditions=None, currentStepIndex=3)], True, id="skips a running step"),
        pytest.param(rollout(STEPS, {"currentStepIndex": 3}), [status(pauseConditions=None, currentStepIndex=3)], True, id="stays behind the last step"),
        pytest.param(rollout(STEPS, {}, paused=True), [status(pauseConditions=None, currentStepIndex=1), UNPAUSE], True, id="of a person's pause skips a step, as in Argo"),
        pytest.param(rollout(STEPS, {**INCONCLUSIVE, "currentStepIndex": 1}), [status(pauseConditions=None, controllerPause=False, currentStepIndex=2)], True, id="skips an inconclusive step"),
        pytest.param(rollout({"canary": {}}, INCONCLUSIVE), [status(pauseConditions=None)], False, id="of an inconclusive background analysis without steps ends the pause"),
        pytest.param(rollout({"blueGreen": {}}, PAUSED, paused=True), [status(pauseConditions=None), UNPAUSE], False, id="ends both pauses"),
    ],
)  # fmt: skip
def test_promote(given: Rollout, patches: list[Patch], skips: bool) -> None:
    intent = operator.promote(given)
    assert list(intent.patches) == patches
    assert intent.skips_step is skips
    assert intent.message == ""


def test_promote_has_nothing_to_do() -> None:
    intent = operator.promote(rollout({"blueGreen": {}}, {}))
    assert intent == Intent(message="nothing is paused")


def test_resume_ends_every_pause_and_skips_nothing() -> None:
    both = operator.resume(rollout(STEPS, INCONCLUSIVE, paused=True))
    assert both.patches == (status(pauseConditions=None), UNPAUSE)
    assert not both.skips_step
    assert operator.resume(rollout(STEPS, {}, paused=True)).patches == (UNPAUSE,)
    assert operator.resume(rollout(STEPS, {})).message == "nothing is paused"


def test_promote_full_only_while_an_update_runs() -> None:
    assert operator.promote_full(rollout(STEPS, {})).patches == (status(promoteFull=True),)
    done = rollout(STEPS, {"stableRS": "b"})
    assert operator.promote_full(done) == Intent(message="no update is in progress")
    held = rollout(STEPS, {"stableRS": "b"}, paused=True)
    assert operator.promote_full(held).patches == (UNPAUSE,)


def test_skipping_goes_to_the_next_step_or_to_the_end() -> None:
    given = rollout(STEPS, {"currentStepIndex": 1})
    assert operator.skip_current_step(given).patches == (status(currentStepIndex=2),)
    assert operator.skip_all_steps(given).patches == (status(currentStepIndex=3),)


@pytest.mark.parametrize("skip", [operator.skip_current_step, operator.skip_all_steps])
@pytest.mark.parametrize("strategy", [{"canary": {}}, {"canary": {"steps": []}}, {"blueGreen": {}}])
def test_without_steps_skipping_is_refused(skip: Any, strategy: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="Cannot skip steps"):
        skip(rollout(strategy, {}))


def test_plain_intents() -> None:
    assert operator.ABORT.patches == (status(abort=True),)
    assert operator.RETRY.patches == (status(abort=False),)
    assert operator.PAUSE.patches == (Patch("object", {"spec": {"paused": True}}),)
    at = "2024-05-01T10:00:00+02:00"
    assert operator.restart(at).patches == (Patch("object", {"spec": {"restartAt": at}}),)
    with pytest.raises(Refused, match="restartAt: 'noon' is not an RFC 3339 time"):
        operator.restart("noon")


def revision(number: int, image: str, **spec: Any) -> ReplicaSetView:
    template = {
        "metadata": {"labels": {"app": "web", "rollouts-pod-template-hash": f"h{number}"}},
        "spec": {"containers": [{"name": "web", "image": image}], **spec},
    }
    meta = {
        "name": f"web-{number}",
        "labels": {"rollouts-pod-template-hash": f"h{number}"},
        "annotations": {"rollout.argoproj.io/revision": str(number)},
    }
    return view({"metadata": meta, "spec": {"template": template}})


def with_image(image: str, **spec: Any) -> Rollout:
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": image}]},
    }
    return rollout(STEPS, {}, template=template, **spec)


HISTORY = [revision(3, "web:3"), revision(10, "web:10"), revision(2, "web:2")]


@pytest.mark.parametrize(("to", "image"), [(0, "web:3"), (2, "web:2")])
def test_undo_brings_a_template_back_without_the_hash(to: int, image: str) -> None:
    intent = operator.undo(with_image("web:10"), HISTORY, to)
    (operation,) = intent.operations
    assert (operation["op"], operation["path"]) == ("replace", "/spec/template")
    assert operation["value"] == {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": image}]},
    }
    assert not intent.on_workload
    assert HISTORY[0].raw["spec"]["template"]["metadata"]["labels"]["rollouts-pod-template-hash"]


def test_undo_of_a_borrowed_template_is_for_the_workload() -> None:
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    assert operator.undo(with_image("web:10", workloadRef=ref), HISTORY).on_workload


@pytest.mark.parametrize(
    ("given", "to"),
    [
        pytest.param(with_image("web:3"), 3, id="the same template"),
        pytest.param(with_image("web:11"), 11, id="the same but for the API server's defaults"),
    ],
)
def test_undo_to_what_is_there_already_does_nothing(given: Rollout, to: int) -> None:
    sets = [*HISTORY, revision(11, "web:11", dnsPolicy="ClusterFirst")]
    intent = operator.undo(given, sets, to)
    assert intent.message == (f"skipped rollback (current template already matches revision {to})")
    assert not intent.operations


def test_undo_brings_back_what_was_taken_out() -> None:
    sets = [revision(1, "web:1", nodeSelector={"disk": "ssd"}), revision(2, "web:1")]
    (operation,) = operator.undo(with_image("web:1"), sets).operations
    assert operation["value"]["spec"]["nodeSelector"] == {"disk": "ssd"}


@pytest.mark.parametrize(
    ("sets", "to", "message"),
    [
        (HISTORY, 4, "unable to find specified revision 4 in history"),
        (HISTORY[:1], 0, 'no revision found for rollout "web"'),
        ([HISTORY[0], ReplicaSetView(name="unnumbered")], 0, 'no revision found for rollout "web"'),
    ],
)
def test_undo_without_such_a_revision_is_refused(
    sets: list[ReplicaSetView], to: int, message: str
) -> None:
    with pytest.raises(Refused, match=message):
        operator.undo(with_image("web:3"), sets, to)


PODS = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {
        "initContainers": [{"name": "init", "image": "i:1"}],
        "containers": [{"name": "web", "image": "w:1"}, {"name": "log", "image": "l:1"}],
    },
}


def test_images_are_set_where_the_names_are() -> None:
    given = rollout(STEPS, {}, template=PODS)
    intent = operator.set_images(given, {"log": "l:2", "init": "i:2", "web": "w:1"})
    assert intent.operations == (
        {"op": "test", "path": "/spec/template/spec/initContainers/0/name", "value": "init"},
        {"op": "add", "path": "/spec/template/spec/initContainers/0/image", "value": "i:2"},
        {"op": "test", "path": "/spec/template/spec/containers/1/name", "value": "log"},
        {"op": "add", "path": "/spec/template/spec/containers/1/image", "value": "l:2"},
    )


def test_a_star_is_every_container() -> None:
    intent = operator.set_images(rollout(STEPS, {}, template=PODS), {"*": "x:1"})
    assert sum(operation["op"] == "add" for operation in intent.operations) == 3


def test_images_that_are_there_or_have_no_container() -> None:
    given = rollout(STEPS, {}, template=PODS)
    assert operator.set_images(given, {"web": "w:1"}).message == "these images are set already"
    with pytest.raises(Refused, match='unable to find container named "db"'):
        operator.set_images(given, {"db": "d:1"})
