"""Do the objects that a Rollout names exist, and fit?"""

from typing import Any

import pytest

from agent.api.decode import read
from agent.api.meta import Object, Ref
from agent.api.rollout import Rollout
from agent.rollout import references
from agent.traffic.types import FieldError


def rollout(strategy: dict[str, Any]) -> Rollout:
    template = {"metadata": {"labels": {"app": "web", "tier": "front"}}}
    manifest = {
        "metadata": {"name": "web"},
        "spec": {"template": template, "strategy": strategy},
    }
    return read(Rollout, manifest)


def service(name: str, selector: dict[str, str], owner: str | None = None) -> Object:
    annotations = {} if owner is None else {"argo-rollouts.argoproj.io/managed-by-rollouts": owner}
    return {
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"selector": selector},
    }


def shown(errors: list[FieldError]) -> list[tuple[str, str]]:
    return [(error.field.removeprefix("spec.strategy."), error.detail) for error in errors]


CANARY: dict[str, Any] = {"canary": {"stableService": "s", "canaryService": "c"}}


def test_services_are_named_by_role() -> None:
    assert references.referenced_services(rollout(CANARY)) == (
        ("StableService", "s"),
        ("CanaryService", "c"),
    )
    ping = {"canary": {"pingPong": {"pingService": "i", "pongService": "o"}}}
    assert references.referenced_services(rollout(ping)) == (
        ("PingService", "i"),
        ("PongService", "o"),
    )
    blue = {"blueGreen": {"activeService": "a"}}
    assert references.referenced_services(rollout(blue)) == (("ActiveService", "a"),)
    assert references.referenced_services(rollout({})) == ()


def test_services_that_fit() -> None:
    found = {
        "s": service("s", {"app": "web", "rollouts-pod-template-hash": "abc"}, owner="web"),
        "c": service("c", {}),
    }
    assert references.services_errors(rollout(CANARY), found) == []


def test_services_that_do_not_fit() -> None:
    found = {"s": service("s", {"app": "web", "tier": "back", "zone": "x"}, owner="db")}
    assert shown(references.services_errors(rollout(CANARY), found)) == [
        ("canary.stableService", 'Service "s" has unmatch label "tier" in rollout'),
        ("canary.stableService", 'Service "s" has unmatch label "zone" in rollout'),
        ("canary.stableService", 'Service "s" is managed by another Rollout'),
        ("canary.canaryService", 'service "c" not found'),
    ]


def template(name: str, *metrics: dict[str, Any], **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"metrics": list(metrics), **spec}}


def stored(*objects: Object, cluster: bool = False) -> dict[Ref, Object]:
    kind, namespace = (
        ("ClusterAnalysisTemplate", "") if cluster else ("AnalysisTemplate", "default")
    )
    return {Ref(kind, namespace, obj["metadata"]["name"]): obj for obj in objects}


def names(*found: str, **analysis: Any) -> dict[str, Any]:
    return {"templates": [{"templateName": name} for name in found], **analysis}


ONCE = {"name": "once", "provider": {}}
ENDLESS = {"name": "endless", "interval": "1m", "provider": {}}
STEP: dict[str, Any] = {"canary": {"steps": [{"pause": {}}, {"analysis": names("t")}]}}
AT_STEP = "canary.steps[1].analysis.templates"


def test_every_place_that_names_templates_is_found() -> None:
    both = {"canary": {"steps": [{"analysis": names("a")}], "analysis": names("b")}}
    assert [(use.field, use.background) for use in references.template_uses(rollout(both))] == [
        ("spec.strategy.canary.steps[0].analysis.templates", False),
        ("spec.strategy.canary.analysis.templates", True),
    ]
    blue = {"blueGreen": {"postPromotionAnalysis": names("a")}}
    assert [use.field for use in references.template_uses(rollout(blue))] == [
        "spec.strategy.blueGreen.postPromotionAnalysis.templates"
    ]
    assert references.template_uses(rollout({})) == ()


@pytest.mark.parametrize(
    ("strategy", "objects", "errors"),
    [
        pytest.param(STEP, stored(template("t", ONCE)), [], id="measured once"),
        pytest.param(STEP, stored(template("t", {**ENDLESS, "count": "3"})), [], id="measured three times"),
        pytest.param(STEP, {}, [(AT_STEP, "AnalysisTemplate 't' not found")], id="missing"),
        pytest.param(STEP, stored(template("t", ONCE), cluster=True), [(AT_STEP, "AnalysisTemplate 't' not found")], id="in the wrong scope"),
        pytest.param(STEP, stored(template("t", ENDLESS)), [(AT_STEP, "AnalysisTemplate t has metric endless which runs indefinitely. Invalid value for count: <nil>")], id="endless"),
        pytest.param(STEP, stored(template("t", {**ENDLESS, "count": 0})), [(AT_STEP, "AnalysisTemplate t has metric endless which runs indefinitely. Invalid value for count: 0")], id="a count of 0 is none"),
        pytest.param(STEP, stored(template("t", args=[{"name": "x"}])), [(AT_STEP, "args.x was not resolved")], id="an argument without value"),
        pytest.param(STEP, stored(template("t", {"name": "m", "provider": {"web": {"url": "{{args.y}}"}}})), [(AT_STEP, "AnalysisTemplate t: failed to resolve {{args.y}}")], id="an argument that is not declared"),
        pytest.param(STEP, stored(template("t", args=[{"name": "x", "value": "1", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}])), [(AT_STEP, "AnalysisTemplate t: arg 'x' has both Value and ValueFrom fields")], id="a value twice"),
        pytest.param(STEP, stored(template("t", ONCE, templates=[{"templateName": "u"}])), [("spec.templates", "AnalysisTemplate 'u' not found")], id="a nested one is missing"),
        pytest.param(STEP, stored(template("t", ONCE, templates=[{"templateName": "u"}]), template("u", ENDLESS)), [(AT_STEP, "AnalysisTemplate u has metric endless which runs indefinitely. Invalid value for count: <nil>")], id="a nested one is endless"),
        pytest.param(STEP, stored(template("t", ONCE, templates=[{"templateName": "u"}]), template("u", ONCE)), [(AT_STEP, "two metrics have the same name 'once'")], id="two metrics of one name"),
        pytest.param(STEP, stored({"metadata": {"name": "t"}, "spec": {"metrics": 5}}), [(AT_STEP, "Expected `array | null`, got `int`")], id="unreadable"),
        pytest.param({"canary": {"analysis": names("t")}}, stored(template("t", ENDLESS)), [], id="in the background a metric may be endless"),
    ],
)  # fmt: skip
def test_templates(
    strategy: dict[str, Any], objects: dict[Ref, Object], errors: list[tuple[str, str]]
) -> None:
    assert shown(references.templates_errors(rollout(strategy), objects)) == errors


def test_a_template_that_names_itself_is_refused_not_followed() -> None:
    objects = stored(template("t", ONCE, templates=[{"templateName": "t"}]))
    ((field, detail),) = shown(references.templates_errors(rollout(STEP), objects))
    assert field == AT_STEP
    assert "in a circle" in detail


def test_a_count_from_an_argument_is_not_known_to_end() -> None:
    """Argo refuses it even when the Rollout gives a number; who accepted it would run what Argo does not."""
    metric = {**ENDLESS, "count": "{{args.n}}"}
    objects = stored(template("t", metric, args=[{"name": "n"}]))
    args = [{"name": "n", "value": "3"}]
    strategy = {"canary": {"steps": [{"analysis": names("t", args=args)}]}}
    ((_, detail),) = shown(references.templates_errors(rollout(strategy), objects))
    assert detail.endswith("Invalid value for count: dummy-value")


def judged(**own: Any) -> dict[str, Any]:
    def arm(version: str) -> dict[str, str]:
        counter = f'requests_total{{version="{version}"'
        return {"requests": counter + "}", "bad": counter + ',code=~"5.."}'}

    plugin = {"canary": arm("{{args.canary}}"), "stable": arm("{{args.stable}}"), **own}
    return {
        "name": "errors",
        "interval": "15s",
        "count": 40,
        "provider": {"plugin": {"serinus/sequential": plugin}},
    }


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (judged(), ""),
        (judged(alpha=7), "metric errors: provider.plugin[serinus/sequential].alpha: 7 must be"),
        (judged(aplha=0.01), "unknown field `aplha`"),
        ({**judged(), "count": None}, "metric errors which runs indefinitely"),
        (
            {"name": "errors", "provider": {"plugin": {"acme/judge": {}}}},
            "provider.plugin[acme/judge]: not driven by Serinus",
        ),
    ],
    ids=["as it should be", "a chance that is none", "a typing error", "no end", "another plugin"],
)
def test_plugins_of_a_template_are_looked_into(metric: dict[str, Any], words: str) -> None:
    args = [{"name": name, "value": name} for name in ("canary", "stable")]
    found = stored(template("checks", metric, args=args))
    analysis = names("checks", args=args)
    canary = {"canary": {"steps": [{"setWeight": 5}, {"analysis": analysis}]}}
    errors = references.templates_errors(rollout(canary), found)
    assert [words in error.detail for error in errors] == ([True] if words else [])
