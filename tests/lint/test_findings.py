"""Each finding: a shop that is in order has none, and the same shop with one thing wrong has this one."""

from collections.abc import Callable
from typing import Any

import pytest

from agent.lint.checks import CODES
from tests.lint.manifests import (
    CONDITION,
    QUERY,
    Objects,
    analysis,
    at,
    both,
    by_deployment,
    codes_in,
    drop,
    experiment,
    findings_in,
    put,
    shop,
    spoilt,
    template,
    text_of,
)

Spoil = Callable[[Objects], None]

CANARY = "spec.strategy.canary"
STEPS = f"{CANARY}.steps"
METRIC = "spec.metrics.0"
PROMETHEUS = f"{METRIC}.provider.prometheus"
HTTP = "spec.http.1.route"


def query(text: str) -> Spoil:
    return put("template", f"{PROMETHEUS}.query", text)


def condition(success: str, failure: str = "") -> Spoil:
    return both(
        put("template", f"{METRIC}.successCondition", success),
        put("template", f"{METRIC}.failureCondition", failure),
    )


def extra(name: str, obj: Any) -> Spoil:
    return lambda objects: objects.update({name: obj})


def insert(index: int, step: Any) -> Spoil:
    return lambda objects: at(objects["rollout"], STEPS).insert(index, step)


def a_twin(objects: Objects) -> None:
    twin = shop()["rollout"]
    twin["metadata"]["name"] = "twin"
    objects["twin"] = twin


def background(objects: Objects) -> None:
    canary = at(objects["rollout"], CANARY)
    canary["analysis"] = analysis()


def by_subset(objects: Objects) -> None:
    """The split by subsets of one Service, of which one is not defined."""
    routing = at(objects["rollout"], f"{CANARY}.trafficRouting.istio")
    routing["destinationRule"] = {
        "name": "web", "canarySubsetName": "canary", "stableSubsetName": "stable",
    }  # fmt: skip
    objects["rule"] = {
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"host": "web", "subsets": [{"name": "stable", "labels": {"app": "web"}}]},
    }  # fmt: skip
    objects["route"]["spec"]["http"][1]["route"] = [
        {"destination": {"host": "web", "subset": "stable"}, "weight": 100},
        {"destination": {"host": "web", "subset": "canary"}, "weight": 0},
    ]


def nested(name: str, *inner: str) -> Any:
    made = template()
    made["metadata"]["name"] = name
    made["spec"] = {"templates": [{"templateName": each} for each in inner]}
    return made


def gateway_route(objects: Objects) -> None:
    objects["route"]["spec"]["hosts"] = ["web"]
    del objects["route"]["spec"]["gateways"]
    objects["http"] = {
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "web"}]},
    }  # fmt: skip


def by_gateway(weight: int) -> Spoil:
    """The same shop behind an HTTPRoute."""

    def spoil(objects: Objects) -> None:
        canary = at(objects["rollout"], CANARY)
        canary["trafficRouting"] = {
            "plugins": {"argoproj-labs/gatewayAPI": {"httpRoute": "web", "namespace": "shop"}}
        }
        backends = [
            {"name": "web-stable", "port": 80, "weight": 100 - weight},
            {"name": "web-canary", "port": 80, "weight": weight},
        ]
        objects["route"] = {
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"parentRefs": [{"name": "public"}], "rules": [{"backendRefs": backends}]},
        }  # fmt: skip
        objects["application"]["spec"]["ignoreDifferences"][0]["kind"] = "HTTPRoute"

    return spoil


def knative(least: str | None) -> Spoil:
    annotations = {} if least is None else {"autoscaling.knative.dev/min-scale": least}
    obj = {
        "apiVersion": "serving.knative.dev/v1", "kind": "Service",
        "metadata": {"name": "serinus", "namespace": "serinus"},
        "spec": {"template": {"metadata": {"annotations": annotations}, "spec": {"containers": [{"image": "x"}]}}},
    }  # fmt: skip
    return both(extra("knative", obj), put("rollout", f"{STEPS}.1.pause.duration", "30s"))


def probe_delay(seconds: int) -> Spoil:
    place = "spec.template.spec.containers.0.readinessProbe.initialDelaySeconds"
    return put("rollout", place, seconds)


def threshold(value: str | None) -> Spoil:
    arg = {"name": "threshold"} if value is None else {"name": "threshold", "value": value}
    return both(
        condition(CONDITION.replace("0.95", "{{args.threshold}}")),
        lambda objects: at(objects["template"], "spec.args").append(arg),
    )


def by_pod_template(objects: Objects) -> None:
    spec = objects["rollout"]["spec"]
    objects["pods"] = {
        "apiVersion": "v1", "kind": "PodTemplate",
        "metadata": {"name": "web", "namespace": "shop"}, "template": spec.pop("template"),
    }  # fmt: skip
    spec["workloadRef"] = {"apiVersion": "v1", "kind": "PodTemplate", "name": "web"}


def of_its_own(objects: Objects) -> None:
    """The Experiment has a template that nobody else uses."""
    own = template()
    own["metadata"]["name"] = "own"
    objects["own"] = own
    at(objects["experiment"], "spec.analyses.0")["templateName"] = "own"


GOOD = 'sum(rate(x{code!~"5.*"}[2m])) / sum(rate(x[2m]))'

CASES: tuple[tuple[str, list[str], Spoil], ...] = (
    # Texts.
    ("a syntax error", ["SRN001"], extra("z", "---\na: [1,\n b")),
    ("nested too deeply", ["SRN002"], extra("z", "---\na: " + "[" * 200 + "]" * 200)),
    ("a bomb of aliases", ["SRN002"], extra("z", "---\n" + "\n".join(
        ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 8)]))),
    ("an anchor that contains itself", ["SRN002"], extra("z", "---\na: &a [*a]\n")),
    ("a key twice", ["SRN003"], extra("z", "---\napiVersion: v1\nkind: ConfigMap\ndata: {a: b, a: c}\n")),
    ("a document that is no object", ["SRN004"], extra("z", "---\nreplicas: 3\n")),
    ("no name", ["SRN005"], extra("z", {"apiVersion": "v1", "kind": "Service", "spec": {}})),
    ("one object twice", ["SRN006"], lambda objects: objects.update(again=objects["canary"])),
    ("a Service that is nowhere", ["SRN007"], lambda objects: objects.pop("canary")),
    ("a template that is nowhere", ["SRN007"], put("template", "metadata.name", "other")),
    ("a comment with an unknown code", ["SRN008"], extra("z", "# serinus-lint: ignore=SRN999\n")),
    # Argo.
    ("an invalid spec", ["ARG001"], put("rollout", f"{STEPS}.0.setWeight", 101)),
    ("a misspelt field", ["ARG002"], put("rollout", "spec.replica", 3)),
    ("a misspelt field of the pods", ["ARG002"], put("rollout", "spec.template.spec.container", [])),
    ("a wrong type", ["ARG002"], put("rollout", "spec.replicas", "three")),
    ("a wrong type below the pods", ["ARG002"], put("rollout", "spec.template.metadata", [1])),
    ("a Service that selects others", ["ARG003"], put("canary", "spec.selector.app", "other")),
    ("a Service of another Rollout", ["ARG003"], put("canary", "metadata.annotations", {
        "argo-rollouts.argoproj.io/managed-by-rollouts": "other"})),
    ("a route that is not there", ["ARG004"], put("route", "spec.http.1.name", "other")),
    ("no destination for the canary", ["ARG004"], drop("route", f"{HTTP}.1")),
    ("a host that is another", ["ARG004"], put("route", f"{HTTP}.1.destination.host", "canary")),
    ("two routes and none named", ["ARG004"], drop("rollout", f"{CANARY}.trafficRouting.istio.virtualService.routes")),
    ("a root that delegates", ["ARG004"], put("route", "spec.http.1", {
        "name": "primary", "delegate": {"name": "web-routes"}})),
    ("a step that never ends", ["ARG005", "SRN221"], drop("template", f"{METRIC}.count")),
    ("an argument without a value", ["ARG005"], both(
        drop("template", "spec.args.0.value"), drop("rollout", f"{STEPS}.2.analysis.args"))),
    ("a duration that is none", ["ARG006"], put("template", f"{METRIC}.interval", "30")),
    ("count without interval", ["ARG006"], drop("template", f"{METRIC}.interval")),
    ("no provider", ["ARG006", "SRN204"], put("template", f"{METRIC}.provider", {})),
    ("two providers", ["ARG006", "SRN207"], put("template", f"{METRIC}.provider.web", {"url": "http://x"})),
    ("one name for two metrics", ["ARG005", "ARG006"], lambda objects: at(objects["template"], "spec.metrics").append(
        at(template(), METRIC))),
    ("a dry run of nothing", ["ARG007"], put("template", "spec.dryRun", [{"metricName": "*"}])),
    ("retention of nothing", ["ARG007"], put("template", "spec.measurementRetention", [{"metricName": "x", "limit": 2}])),
    # Steps.
    ("blue-green", ["SRN101"], put("rollout", "spec.strategy", {"blueGreen": {"activeService": "web-stable"}})),
    ("a router of others", ["SRN101"], put("rollout", f"{CANARY}.trafficRouting", {"nginx": {"stableIngress": "x"}})),
    ("an experiment", ["SRN101"], insert(0, {"experiment": {"templates": []}})),
    ("an Experiment", ["SRN101"], experiment()),
    ("an Experiment without a spec", ["ARG009", "SRN101", "SRN121"], extra("z", {
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Experiment", "metadata": {"name": "x"}})),
    ("weight and scale in one step", ["SRN102"], put("rollout", f"{STEPS}.0.setCanaryScale", {"replicas": 1})),
    ("a pause first", ["SRN103"], insert(0, {"pause": {"duration": "1m"}})),
    ("a pause without an end", ["SRN104"], put("rollout", f"{STEPS}.1.pause", {})),
    ("a sleeping agent", ["SRN105"], knative(None)),
    ("an agent of scale zero", ["SRN105"], knative("0")),
    ("an agent that stays awake", [], knative("1")),
    ("nobody watches at 100", ["SRN106"], lambda objects: at(objects["rollout"], STEPS).append({"setWeight": 100})),
    ("weights without a pause", ["SRN107"], insert(1, {"setWeight": 20})),
    ("a weight that falls", [], insert(1, {"setWeight": 5})),
    ("no steps", ["SRN108"], put("rollout", STEPS, [])),
    # Workloads: they are not driven, which is said each time.
    ("a Deployment", ["SRN101"], by_deployment()),
    ("a Deployment that is nowhere", ["SRN007", "SRN101"], both(by_deployment(), lambda objects: objects.pop("deployment"))),
    ("a Deployment of another namespace", ["SRN007", "SRN101"], both(by_deployment(), put("deployment", "metadata.namespace", "other"))),
    ("a StatefulSet", ["ARG008", "SRN101"], both(
        by_deployment(), put("rollout", "spec.workloadRef.kind", "StatefulSet"))),
    ("a Deployment of another group", ["ARG008", "SRN101"], both(
        by_deployment(), put("rollout", "spec.workloadRef.apiVersion", "extensions/v1beta1"))),
    ("a template beside the workload's", ["ARG001", "SRN101"], both(
        by_deployment(), put("rollout", "spec.template", shop()["rollout"]["spec"]["template"]))),
    ("a Deployment that selects others", ["ARG008", "SRN101"], both(
        by_deployment(), put("deployment", "spec.selector.matchLabels", {"app": "other"}))),
    ("a Deployment without containers", ["ARG008", "SRN101"], both(
        by_deployment(), put("deployment", "spec.template.spec.containers", []))),
    ("a Deployment with a template that is none", ["ARG008", "SRN101"], both(
        by_deployment(), put("deployment", "spec.template", "x"))),
    ("a selector of the Rollout's own", ["ARG008", "SRN101"], both(
        by_deployment(), put("rollout", "spec.selector", {"matchLabels": {"app": "other"}}))),
    ("a Service that selects others than the Deployment", ["ARG003", "SRN101"], both(
        by_deployment(), put("canary", "spec.selector.app", "other"))),
    ("a Deployment without a readiness probe", ["SRN101", "SRN114"], both(
        by_deployment(), drop("deployment", "spec.template.spec.containers.0.readinessProbe"))),
    ("a scaleDown that is none", ["SRN101", "SRN117"], both(by_deployment(), put("rollout", "spec.workloadRef.scaleDown", "onSuccess"))),
    ("a Deployment that keeps its pods", ["SRN101", "SRN118"], both(by_deployment(), put("rollout", "spec.workloadRef.scaleDown", "never"))),
    ("a Deployment that says nothing of its pods", ["SRN101", "SRN118"], both(
        by_deployment(), drop("rollout", "spec.workloadRef.scaleDown"), drop("deployment", "spec.replicas"))),
    ("a Deployment without pods", ["SRN101"], both(
        by_deployment(), drop("rollout", "spec.workloadRef.scaleDown"), put("deployment", "spec.replicas", 0))),
    ("a PodTemplate", ["SRN101"], by_pod_template),
    # Experiments: they are not driven, which is said each time.
    ("an Experiment's field that there is not", ["SRN101", "SRN201"], experiment(put("experiment", "spec.durations", "1h"))),
    ("an Experiment's pod with a field that there is not", ["SRN101", "SRN201"], experiment(
        put("experiment", "spec.templates.0.template.spec.container", []))),
    ("an Experiment's value of another type", ["SRN101", "SRN201"], experiment(put("experiment", "spec.templates.0.replicas", "one"))),
    ("an Experiment that selects all", ["ARG009", "SRN101"], experiment(put("experiment", "spec.templates.0.selector", {}))),
    ("an Experiment without a selector", ["ARG009", "SRN101"], experiment(drop("experiment", "spec.templates.0.selector"))),
    ("an Experiment with a selector that is none", ["ARG009", "SRN101"], experiment(
        put("experiment", "spec.templates.0.selector", {"matchLabels": ["x"]}))),
    ("an Experiment that selects others", ["ARG009", "SRN101"], experiment(
        put("experiment", "spec.templates.0.selector.matchLabels", {"app": "other"}))),
    ("an Experiment's template without a name", ["ARG005", "ARG009", "SRN101"], experiment(drop("experiment", "spec.templates.0.name"))),
    ("an Experiment's templates of one name", ["ARG009", "SRN101"], experiment(
        lambda objects: at(objects["experiment"], "spec.templates").append(at(objects["experiment"], "spec.templates.0")))),
    ("an Experiment's pods ready after the deadline", ["ARG009", "SRN101"], experiment(
        put("experiment", "spec.templates.0.minReadySeconds", 601))),
    ("an Experiment for ever", ["SRN101", "SRN121"], experiment(drop("experiment", "spec.duration"))),
    ("an Experiment for a time that is none", ["SRN101", "SRN121"], experiment(put("experiment", "spec.duration", "long"))),
    ("an Experiment that ends with its analysis", ["SRN101"], experiment(
        drop("experiment", "spec.duration"), put("experiment", "spec.analyses.0.requiredForCompletion", True))),
    ("an analysis without a name", ["SRN101", "SRN122"], experiment(drop("experiment", "spec.analyses.0.name"))),
    ("analyses of one name", ["SRN101", "SRN122"], experiment(
        lambda objects: at(objects["experiment"], "spec.analyses").append(at(objects["experiment"], "spec.analyses.0")))),
    ("an Experiment's template that is nowhere", ["SRN007", "SRN101"], experiment(
        put("experiment", "spec.analyses.0.templateName", "other"))),
    ("a hash of no template", ["ARG005", "SRN101"], experiment(
        put("experiment", "spec.analyses.0.args.0.value", "{{templates.other.podTemplateHash}}"))),
    ("a time of an Experiment without a duration", ["ARG005", "SRN101", "SRN121"], experiment(
        put("experiment", "spec.analyses.0.args.0.value", "{{experiment.finishedAt}}"), put("experiment", "spec.duration", "x"))),
    ("an Experiment's argument without a value", ["ARG005", "SRN101"], experiment(
        drop("template", "spec.args.0.value"), drop("experiment", "spec.analyses.0.args"))),
    ("an Experiment's argument that nobody takes", ["SRN101", "SRN205"], experiment(
        lambda objects: at(objects["experiment"], "spec.analyses.0.args").append({"name": "sevice", "value": "web"}))),
    ("for ever in an Experiment", ["SRN101"], experiment(of_its_own, drop("own", f"{METRIC}.count"))),
    ("for ever in an Experiment that waits for it", ["SRN101", "SRN221"], experiment(
        of_its_own, drop("own", f"{METRIC}.count"), put("experiment", "spec.analyses.0.requiredForCompletion", True))),
    # Watching.
    ("nobody watches", ["SRN110"], both(
        put("rollout", "metadata.annotations", {}), drop("rollout", f"{STEPS}.2"))),
    ("alerts that nobody can read", ["SRN111"], put("rollout", "metadata.annotations", {"serinus.dev/abort-on": "severity"})),
    ("a policy that is none", ["SRN111"], put("rollout", "metadata.annotations", {"serinus.dev/on-alert": "stop"})),
    ("a compat that is none", ["SRN111"], put("rollout", "metadata.annotations", {"serinus.dev/compat": "flagger"})),
    ("missing data as success", ["SRN111"], put("rollout", "metadata.annotations", {"serinus.dev/missing-data": "success"})),
    ("no Services", ["SRN112"], both(
        drop("rollout", f"{CANARY}.canaryService"), drop("rollout", f"{CANARY}.stableService"),
        drop("rollout", f"{CANARY}.trafficRouting"))),
    ("background from the first step", ["SRN113"], background),
    ("background from a later step", [], both(background, put("rollout", f"{CANARY}.analysis.startingStep", 1))),
    ("no readiness probe", ["SRN114"], drop("rollout", "spec.template.spec.containers.0.readinessProbe")),
    ("a deadline too short for the probe", ["SRN115"], probe_delay(600)),
    ("a deadline that the probe meets", [], probe_delay(60)),
    ("a deadline for pauses", ["SRN116"], put("rollout", "spec.progressDeadlineSeconds", 3600)),
    # Templates.
    ("a misspelt condition", ["SRN201", "SRN215"], both(
        put("template", f"{METRIC}.sucessCondition", CONDITION), drop("template", f"{METRIC}.successCondition"))),
    ("a placeholder", ["SRN202", "SRN234"], query(QUERY.replace("{{args.service}}", "<service>", 1))),
    ("a variable of Grafana", ["SRN202"], query(QUERY.replace("[2m]", "[$__rate_interval]", 1))),
    ("a group of a pattern", [], query(QUERY.replace('"5.*"', '"(?P<code>5.*)"', 1))),
    ("an argument that nobody declares", ["ARG005", "SRN203"], query(QUERY.replace("args.service", "args.svc", 1))),
    ("a tag that is no argument", ["ARG005", "SRN203"], query(QUERY.replace("args.service", ".Values.service", 1))),
    ("a tag without its end", ["ARG005", "SRN203", "SRN203", "SRN204"], query(QUERY.replace("}}", "", 1))),
    ("an argument that nobody uses", ["SRN204"], lambda objects: at(objects["template"], "spec.args").append(
        {"name": "idle", "value": "1"})),
    ("an argument that nobody takes", ["SRN205"], lambda objects: at(objects["rollout"], f"{STEPS}.2.analysis.args").append(
        {"name": "sevice", "value": "web"})),
    ("templates in a circle", ["SRN206", "SRN206"], both(extra("x", nested("a", "b")), extra("y", nested("b", "a")))),
    ("a template of templates", [], extra("x", nested("a", "success-rate"))),
    ("a provider that is not driven", ["ARG005", "SRN204", "SRN207"], put("template", f"{METRIC}.provider", {"wavefront": {"query": "x"}})),
    ("an address that is none", ["SRN207"], put("template", f"{PROMETHEUS}.address", "prometheus:9090")),
    ("a judge without arms", ["ARG005", "SRN204", "SRN207"], put("template", f"{METRIC}.provider", {"plugin": {"serinus/sequential": {}}})),
    ("no address", ["SRN208"], drop("template", f"{PROMETHEUS}.address")),
    ("only dry runs", ["SRN209"], put("template", "spec.dryRun", [{"metricName": ".*"}])),
    # Conditions.
    ("a condition that is none", ["SRN211"], condition("result[0] >=")),
    ("a list against a number", ["SRN211"], condition("result >= 0.95")),
    ("an index of a number", ["SRN204", "SRN211"], both(condition("result[0] > 1"), query("scalar(up)"))),
    ("an empty answer", ["SRN212"], condition("isNaN(result[0]) || result[0] > 0.9")),
    ("all of nothing", ["SRN212", "SRN213"], condition("all(result, # > 0.9)")),
    ("no number", ["SRN213"], condition("len(result) == 0 || result[0] > 0.9")),
    ("only a failure", ["SRN214"], condition("", "len(result) == 0 || isNaN(result[0]) || result[0] < 0.9")),
    ("no condition", ["SRN215"], condition("")),
    ("a condition with an argument", ["ARG005"], threshold(None)),
    ("a condition with an argument's default", [], threshold("0.95")),
    ("a condition with an argument that does not fit", ["SRN211"], threshold("high")),
    # Limits.
    ("for ever", ["SRN221"], both(
        drop("template", f"{METRIC}.count"), background, drop("rollout", f"{STEPS}.2"),
        put("rollout", f"{CANARY}.analysis.templates", [{"templateName": "other"}]),
        put("template", "metadata.namespace", "other"), put("rollout", f"{CANARY}.analysis.startingStep", 1),
        extra("other", {**template(), "metadata": {"name": "other", "namespace": "shop"}}))),
    ("for ever in the background", [], both(
        drop("template", f"{METRIC}.count"), background, drop("rollout", f"{STEPS}.2"),
        put("rollout", f"{CANARY}.analysis.startingStep", 1))),
    ("no failureLimit", ["SRN222"], drop("template", f"{METRIC}.failureLimit")),
    ("no consecutiveErrorLimit", ["SRN223"], drop("template", f"{METRIC}.consecutiveErrorLimit")),
    # Queries.
    ("a ratio of successes", ["SRN204", "SRN231"], query(GOOD)),
    ("a ratio of failures", ["SRN204", "SRN232"], query(GOOD.replace("!~", "=~"))),
    ("a ratio with a default", ["SRN204"], query(GOOD.replace("sum(rate(x{code!~\"5.*\"}[2m]))", "(sum(rate(x{code!~\"5.*\"}[2m])) or vector(0))"))),
    ("a pattern for others, too", ["SRN204", "SRN233"], query('sum(rate(x{service=~"shop.*"}[2m]))')),
    ("a pattern that ends at a dot", ["SRN204"], query('sum(rate(x{service=~"shop[.].*"}[2m]))')),
    ("both versions", ["SRN204", "SRN234"], query('sum(rate(istio_requests_total{reporter="source"}[2m]))')),
    ("no labels", ["SRN204", "SRN234", "SRN235"], query("sum(rate(istio_requests_total[2m]))")),
    ("both reporters", ["SRN204", "SRN235"], query('sum(rate(istio_requests_total{version="v2"}[2m]))')),
    # Routes.
    ("a subset that is not defined", ["SRN301"], by_subset),
    ("a third destination with weight", ["SRN302", "SRN304"], lambda objects: at(objects["route"], HTTP).append(
        {"destination": {"host": "guest"}, "weight": 10})),
    ("two on one route", ["SRN303"] * 6, a_twin),
    ("a sum of 90", ["SRN304"], put("route", f"{HTTP}.0.weight", 90)),
    ("the canary exposed in Git", ["SRN305"], both(
        put("route", f"{HTTP}.0.weight", 90), put("route", f"{HTTP}.1.weight", 10))),
    ("an HTTPRoute", [], by_gateway(0)),
    ("the canary exposed in an HTTPRoute", ["SRN305"], by_gateway(10)),
    ("two kinds of routes", ["SRN301", "SRN306"], gateway_route),
    ("weights that a sync writes back", ["SRN307"], lambda objects: objects.pop("application")),
    ("weights that are only hidden", ["SRN307"], drop("application", "spec.syncPolicy")),
)  # fmt: skip


def test_the_shop_is_in_order() -> None:
    assert codes_in(text_of(shop())) == []


@pytest.mark.parametrize(
    ("codes", "spoil"), [pytest.param(codes, spoil, id=name) for name, codes, spoil in CASES]
)
def test_what_is_wrong_is_found_and_nothing_else(codes: list[str], spoil: Spoil) -> None:
    found = findings_in(spoilt(spoil))
    assert sorted(finding.code for finding in found) == codes, found


def test_each_code_has_a_case() -> None:
    assert {code for _, codes, _ in CASES for code in codes} == set(CODES)
