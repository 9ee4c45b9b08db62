"""Who drives a Rollout, by its managedFields as a real API server writes them."""

from typing import Any

from agent.api.managers import engines, gist, only_we_paused
from agent.api.meta import Object
from agent.cluster.trim import trimmed


def entry(
    manager: str, *, status: tuple[str, ...] = (), paused: bool = False, **more: Any
) -> Object:
    """One entry; the time is that of its last change."""
    fields: dict[str, Any] = {"f:metadata": {"f:annotations": {}}}
    if status:
        fields["f:status"] = {".": {}, **{f"f:{name}": {} for name in status}}
    if paused:
        fields["f:spec"] = {"f:paused": {}, "f:replicas": {}}
    return {
        "manager": manager, "operation": "Update", "apiVersion": "argoproj.io/v1alpha1",
        "fieldsType": "FieldsV1", "fieldsV1": fields, "time": "2026-05-01T10:00:00Z", **more,
    }  # fmt: skip


ARGO = entry("rollouts-controller", status=("conditions", "phase", "observedGeneration", "canary"))


def a_rollout(*entries: Object) -> Object:
    return {"kind": "Rollout", "metadata": {"name": "web", "managedFields": list(entries)}}


def test_who_writes_only_intents_is_no_engine() -> None:
    tools = [
        entry("kubectl-argo-rollouts", status=("abort",)),
        entry("kubectl-argo-rollouts", status=("pauseConditions", "currentStepIndex")),
        entry("argocd-server", status=("promoteFull", "abort", "controllerPause")),
        entry("kubectl-client-side-apply", paused=True),
    ]
    assert engines(a_rollout(*tools)) == ()


def test_what_we_write_is_not_another_engines() -> None:
    assert engines(a_rollout(entry("serinus", status=("conditions", "phase")))) == ()


def test_an_engine_is_known_by_what_it_writes_whatever_its_name() -> None:
    found = engines(a_rollout(ARGO, entry("fork", status=("phase",), time="nonsense")))
    assert [(written.manager, bool(written.at)) for written in found] == [
        ("rollouts-controller", True), ("fork", False),
    ]  # fmt: skip


def test_the_cache_keeps_of_a_rollout_what_tells_this_and_nothing_more() -> None:
    whole = a_rollout(ARGO, entry("kubectl", paused=True), entry("other"))
    kept = trimmed(whole)
    assert engines(kept) == engines(whole)
    assert only_we_paused(kept) is only_we_paused(whole) is False
    assert kept["metadata"]["managedFields"] == [
        {
            "manager": "rollouts-controller", "time": "2026-05-01T10:00:00Z",
            "fieldsV1": {"f:status": {"f:observedGeneration": {}, "f:conditions": {}, "f:phase": {}}},
        },
        {"manager": "kubectl", "time": "2026-05-01T10:00:00Z", "fieldsV1": {"f:spec": {"f:paused": {}}}},
    ]  # fmt: skip
    assert "managedFields" not in trimmed(a_rollout(entry("other")))["metadata"]
    assert trimmed(kept) == kept, "a second time takes nothing more away"


def test_a_pause_is_ours_as_long_as_nobody_else_wrote_it() -> None:
    ours = entry("serinus", paused=True)
    assert only_we_paused(a_rollout(ours, ARGO))
    assert only_we_paused(a_rollout())
    assert not only_we_paused(a_rollout(entry("kubectl-argo-rollouts", paused=True)))
    assert not only_we_paused(a_rollout(ours, entry("argocd-controller", paused=True)))


def test_entries_that_are_no_entries_say_nothing() -> None:
    assert gist(None) == []
    assert gist([{}, {"manager": "x", "fieldsV1": None}]) == []
