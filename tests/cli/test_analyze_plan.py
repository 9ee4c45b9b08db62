"""Which run the command line asks for."""

from typing import Any

import pytest

from agent.api.meta import Object, Ref
from agent.cli.analyze_plan import (
    Changes,
    of_rollout,
    of_template,
    pairs,
    resolved,
    run_of,
    secrets_of,
    templates_in,
)
from agent.errors import Refused
from agent.rollout.hashes import pod_template_hash
from tests.simulation.manifests import rollout

QUERY = 'up{hash="{{args.hash}}"}'


def template(name: str = "a", args: Any = None, **metric: Any) -> dict[Ref, Object]:
    obj = {
        "kind": "AnalysisTemplate",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "args": args if args is not None else [{"name": "hash", "value": "x"}],
            "metrics": [{"name": "m", "provider": {"prometheus": {"query": QUERY}}, **metric}],
        },
    }
    return {Ref("AnalysisTemplate", "shop", name): obj}


def metric_of(run: Object) -> Any:
    (metric,) = run["spec"]["metrics"]
    return metric


def made(
    templates: dict[Ref, Object], given: dict[str, str] | None = None, **changes: Any
) -> Object:
    return run_of(*of_template(templates, ""), templates, given or {}, Changes(**changes))


def test_a_template_becomes_a_run_of_its_namespace() -> None:
    run = made(template(), {"hash": "abc"})
    assert (run["kind"], run["metadata"]["namespace"]) == ("AnalysisRun", "shop")
    assert run["spec"]["args"] == [{"name": "hash", "value": "abc"}]
    (metric,) = resolved(run)
    assert metric.provider == {"prometheus": {"query": 'up{hash="abc"}'}}


@pytest.mark.parametrize(
    ("name", "there", "words"),
    [("", ("a", "b"), "which template"), ("c", ("a", "b"), "no template 'c'"), ("", (), "none")],
    ids=["several", "another", "none"],
)
def test_it_must_be_clear_which_template(name: str, there: tuple[str, ...], words: str) -> None:
    templates = {ref: obj for each in there for ref, obj in template(each).items()}
    with pytest.raises(Refused, match=words):
        of_template(templates, name)


def test_templates_of_templates_are_put_together() -> None:
    outer = template("outer", metrics=[])
    (obj,) = outer.values()
    obj["spec"] = {"templates": [{"templateName": "a"}]}
    templates = {**outer, **template("a")}
    run = run_of(*of_template(templates, "outer"), templates, {}, Changes())
    assert metric_of(run)["name"] == "m"


@pytest.mark.parametrize(
    ("given", "words"),
    [({}, "--arg hash="), ({"hash": "x", "other": "y"}, "no template declares 'other'")],
    ids=["one is missing", "one is too many"],
)
def test_arguments_must_be_those_of_the_template(given: dict[str, str], words: str) -> None:
    with pytest.raises(Refused, match=words):
        made(template(args=[{"name": "hash"}]), given)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"once": True}, {"count": 1, "failureLimit": 0, "consecutiveErrorLimit": 0}),
        ({"watch": True}, {"interval": "5s", "failureLimit": 3}),
        ({"count": 7}, {"count": 7, "interval": "5s", "failureLimit": 3}),
        ({"interval": "1s"}, {"count": 4, "interval": "1s", "failureLimit": 3}),
    ],
    ids=["once", "watch", "count", "interval"],
)
def test_what_the_command_line_changes(changes: Any, expected: Any) -> None:
    metric = metric_of(made(template(interval="5s", count=4, failureLimit=3), **changes))
    kept = {name: metric[name] for name in metric if name not in ("name", "provider")}
    for name in ("inconclusiveLimit", "consecutiveSuccessLimit"):
        kept.pop(name, None)
    assert kept == expected


def test_watching_has_an_interval() -> None:
    assert metric_of(made(template(), watch=True))["interval"] == "10s"


def test_the_judge_looks_once_and_keeps_its_interval() -> None:
    arms = {arm: {"requests": f"r_{arm}", "bad": f"b_{arm}"} for arm in ("canary", "stable")}
    plugin = {"serinus/sequential": {**arms, "prometheus": {"timeout": 3}}}
    templates = template(provider={"plugin": plugin}, interval="5s", count=9)
    metric = metric_of(made(templates, once=True, prometheus="http://p"))
    assert (metric["count"], metric["interval"]) == (1, "5s")
    assert "failureLimit" not in metric
    settings = metric["provider"]["plugin"]["serinus/sequential"]
    assert settings["prometheus"] == {"timeout": 3, "address": "http://p"}


def test_the_address_of_the_command_line_wins() -> None:
    provider = {"prometheus": {"query": "up", "address": "http://in-cluster:9090"}}
    metric = metric_of(made(template(provider=provider), prometheus="http://127.0.0.1:9090"))
    assert metric["provider"]["prometheus"]["address"] == "http://127.0.0.1:9090"


def test_compat_is_that_of_the_command_line() -> None:
    assert made(template(), compat="argo")["metadata"]["annotations"] == {
        "serinus.dev/compat": "argo"
    }


def a_rollout(args: Any, **canary: Any) -> Object:
    analysis = {"templates": [{"templateName": "a"}], "args": args}
    return rollout([{"setWeight": 5}, {"analysis": analysis}], **canary)


LATEST = [{"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}]
STABLE = [{"name": "hash", "valueFrom": {"podTemplateHashValue": "Stable"}}]


def test_a_step_of_a_rollout_gives_its_arguments() -> None:
    manifest = a_rollout(LATEST)
    run = run_of(*of_rollout(manifest, 2), template(), {}, Changes())
    latest = pod_template_hash(manifest["spec"]["template"])
    assert run["spec"]["args"] == [{"name": "hash", "value": latest}]
    assert "ownerReferences" not in run["metadata"]
    over = run_of(*of_rollout(manifest, None), template(), {"hash": "mine"}, Changes())
    assert over["spec"]["args"] == [{"name": "hash", "value": "mine"}]


def test_annotations_of_the_rollout_count() -> None:
    manifest = a_rollout(LATEST)
    manifest["metadata"]["annotations"] = {"serinus.dev/missing-data": "ignore", "other": "x"}
    run = run_of(*of_rollout(manifest, 2), template(), {}, Changes())
    assert run["metadata"]["annotations"] == {"serinus.dev/missing-data": "ignore"}


def test_the_stable_hash_is_in_the_status_or_given() -> None:
    manifest = a_rollout(STABLE)
    with pytest.raises(Refused, match="--arg hash="):
        run_of(*of_rollout(manifest, 2), template(), {}, Changes())
    manifest["status"] = {"stableRS": "abc"}
    run = run_of(*of_rollout(manifest, 2), template(), {}, Changes())
    assert run["spec"]["args"] == [{"name": "hash", "value": "abc"}]


def test_background_analysis_is_meant_without_a_step() -> None:
    background = {"templates": [{"templateName": "b"}]}
    manifest = a_rollout(LATEST, analysis=background)
    _, analysis = of_rollout(manifest, None)
    assert [item.template_name for item in analysis.templates or ()] == ["b"]


def test_a_step_must_be_one_with_an_analysis() -> None:
    with pytest.raises(Refused, match="those are: 2"):
        of_rollout(a_rollout(LATEST), 1)
    with pytest.raises(Refused, match="none"):
        of_rollout(rollout([{"setWeight": 5}]), None)


def test_secrets_come_from_files() -> None:
    source = {"secretKeyRef": {"name": "api", "key": "token"}}
    run = made(template(args=[{"name": "hash", "valueFrom": source}]))
    with pytest.raises(Refused, match="--secret api/token=FILE"):
        secrets_of(run, {})
    (secret,) = secrets_of(run, {("api", "token"): b"hush"})
    assert (secret["metadata"]["name"], secret["data"]) == ("api", {"token": "aHVzaA=="})
    (metric,) = resolved(run)
    assert metric.provider == {"prometheus": {"query": 'up{hash="*****"}'}}


def test_pairs() -> None:
    assert pairs(["a=b=c", "d="], "--arg") == {"a": "b=c", "d": ""}
    for text in ("a", "=b"):
        with pytest.raises(Refused, match="is not name=value"):
            pairs([text], "--arg")


def test_only_templates_are_templates() -> None:
    both = {**template(), Ref("Rollout", "shop", "web"): a_rollout(LATEST)}
    assert list(templates_in(both)) == list(template())
