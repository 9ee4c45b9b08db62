"""`serinus plan` as its user sees it, and that it says what the engine does."""

from collections.abc import Iterator
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from typer.testing import CliRunner

from agent.api.meta import Object, Ref
from agent.cli.root import app
from agent.rollout.preview import preview
from tests.cli.live import cluster_with
from tests.rollout.istio_world import istio_world
from tests.simulation.manifests import (
    PING_PONG,
    http_route,
    on_http_routes,
    rollout,
    virtual_service,
)

HEADER = {"name": "beta", "match": [{"headerName": "x", "headerValue": {"exact": "1"}}]}
STEPS: list[dict[str, Any]] = [
    {"setCanaryScale": {"replicas": 1}},
    {"setHeaderRoute": HEADER},
    {"setWeight": 20},
    {"pause": {"duration": 5}},
    {"setHeaderRoute": {"name": "beta"}},
    {"setCanaryScale": {"matchTrafficWeight": True}},
    {"setWeight": 60},
]


def serinus(*arguments: str | Path, text: str = "") -> tuple[int, str, str]:
    made = CliRunner().invoke(app, ["plan", *(str(item) for item in arguments)], input=text)
    return made.exit_code, made.stdout, made.stderr


def manifests(*objects: Object) -> str:
    return yaml.safe_dump_all(list(objects))


def a_rollout(steps: list[dict[str, Any]] = STEPS) -> Object:
    made = rollout(deepcopy(steps))
    made["spec"]["strategy"]["canary"]["trafficRouting"]["managedRoutes"] = [{"name": "beta"}]
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rollout.yaml").write_text(manifests(a_rollout()))
    other: Object = {"apiVersion": "example.com/v1", "kind": "Sausage", "metadata": {"name": "x"}}
    (tmp_path / "route.yml").write_text(manifests(virtual_service(), other))
    (tmp_path / "notes.txt").write_text("not a manifest")
    return tmp_path


def test_every_step_is_shown_with_the_difference_it_makes(folder: Path) -> None:
    code, said, _ = serinus("-f", folder)
    assert code == 0
    for line in (
        "Rollout shop/web",
        "  step 1: setCanaryScale{replicas: 1} (canary weight 0)\n    no route object changes",
        "    raise: managed routes 'beta' on VirtualService shop/web",
        "  step 3: setWeight: 20 (canary weight 20)\n    raise: canary weight 20",
        "--- VirtualService/shop/web",
        "    -      weight: 100\n",
        "    +      weight: 80\n",
        "    lower: managed routes 'beta' on VirtualService shop/web",
        "  promotion: all traffic on the new version (canary weight 100)",
        "  an abort at the end of the steps (canary weight 0)",
    ):
        assert line in said, line
    assert "admin" not in [line.strip("+- ") for line in said.splitlines() if line[4:5] in "+-"]


def on_routes(*routes: Object) -> str:
    made = a_rollout()
    names = [route["metadata"]["name"] for route in routes]
    made["spec"]["strategy"]["canary"]["trafficRouting"] = on_http_routes(*names)
    return manifests(made, *routes)


def test_gateway_api_routes_are_shown_as_well() -> None:
    code, said, _ = serinus("-f", "-", text=on_routes(http_route(), http_route("internal")))
    assert code == 0
    for line in (
        "    raise: managed routes 'beta' on HTTPRoute shop/web",
        "    raise: canary weight 20 on HTTPRoute shop/internal",
        "--- HTTPRoute/shop/web",
        "    +        name: x\n",
        "    -      weight: 100\n",
        "    +      weight: 80\n",
        "    lower: canary weight 0 on HTTPRoute shop/web",
        "    repoint: the label rollouts.argoproj.io/gatewayapi-canary is taken from HTTPRoute shop/web",
    ):
        assert line in said, line
    code, said, _ = serinus("-f", "-", "-o", "json", text=on_routes(http_route()))
    (item,) = msgspec.json.decode(said)
    assert (code, item["router"]) == (0, "argoproj-labs/gatewayAPI")


def test_a_gateway_api_route_that_cannot_be_driven_is_refused_with_the_fix() -> None:
    lone = http_route()
    del lone["spec"]["rules"][1]["backendRefs"][1]
    code, said, _ = serinus("-f", "-", text=on_routes(lone))
    assert code == 1
    assert "put both into one rule" in said


def test_json_is_for_programs(folder: Path) -> None:
    code, said, _ = serinus("-f", folder, "-o", "json")
    (item,) = msgspec.json.decode(said)
    assert (code, item["refused"], item["router"]) == (0, False, "istio")
    steps = [stage for stage in item["stages"] if stage["kind"] == "step"]
    assert [stage["weight"] for stage in steps] == [0, 0, 20, 20, 20, 20, 60]
    assert [operation["op"] for operation in steps[6]["changes"][0]["patch"][-2:]] == [
        "replace", "replace",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        pytest.param(
            manifests(a_rollout()), 1, 'virtualservices.networking.istio.io "web" not found',
            id="a route object that is in no manifest",
        ),
        pytest.param(
            manifests(a_rollout([{"experiment": {}}]), virtual_service()), 1, "steps[0]",
            id="a step that is not driven",
        ),
        pytest.param(manifests(virtual_service()), 2, "no Rollout in the manifests", id="no Rollout"),
        pytest.param("a: [", 2, "not YAML", id="no YAML"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named(text: str, code: int, sentence: str) -> None:
    got, said, trouble = serinus("-f", "-", text=text)
    assert (got, sentence in said + trouble) == (code, True), said + trouble


def test_two_rollouts_on_one_route_are_refused() -> None:
    twin = a_rollout()
    twin["metadata"]["name"] = "twin"
    code, said, _ = serinus("-f", "-", text=manifests(a_rollout(), twin, virtual_service()))
    assert code == 1
    assert "is also driven by Rollout shop/twin" in said
    assert "is also driven by Rollout shop/web" in said


def _named(name: str, namespace: str = "shop", **spec: Any) -> Object:
    """A VirtualService with these members of a spec instead of its http routes."""
    made = virtual_service()
    made["metadata"] = {"name": name, "namespace": namespace}
    if spec:
        made["spec"] = {"hosts": ["a.example.com"], **spec}
    return made


def _driven(istio: dict[str, Any], **canary: Any) -> Object:
    made = rollout([{"setWeight": 20}], **canary)
    made["spec"]["strategy"]["canary"]["trafficRouting"] = {"istio": istio}
    return made


def _pair(suffix: str = "", **inner: Any) -> list[Object]:
    return [
        {"destination": {"host": f"web-{role}{suffix}", **inner}, "weight": weight}
        for role, weight in (("stable", 100), ("canary", 0))
    ]


_FULL = ".shop.svc.cluster.local"
_RULE: Object = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "DestinationRule",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"host": "web", "subsets": [{"name": "stable"}, {"name": "canary"}]},
}
_SUBSETS: list[Object] = [
    {"destination": {"host": "web", "subset": role}, "weight": weight}
    for role, weight in (("stable", 100), ("canary", 0))
]


@pytest.mark.parametrize(
    ("objects", "lines"),
    [
        pytest.param(
            [
                _driven({"virtualService": {"name": "web", "tlsRoutes": [{"port": 443, "sniHosts": ["a.example.com"]}]}}),
                _named("web", tls=[{"match": [{"port": 443, "sniHosts": ["a.example.com"]}], "route": _pair()}]),
            ],
            ["    raise: canary weight 20 on VirtualService shop/web", "    +      weight: 80"],
            id="tls",
        ),
        pytest.param(
            [
                _driven({"virtualService": {"name": "web", "tcpRoutes": [{"port": 5432}]}}),
                _named("web", tcp=[{"match": [{"port": 5432}], "route": _pair()}]),
            ],
            ["    raise: canary weight 20 on VirtualService shop/web", "    +      weight: 80"],
            id="tcp",
        ),
        pytest.param(
            [
                _driven({"virtualServices": [{"name": "web", "routes": ["primary"]}, {"name": "edge.gates", "routes": ["primary"]}]}),
                _named("web"), {**_named("edge", "gates"), "spec": {**virtual_service()["spec"], "hosts": ["b.example.com"]}},
            ],
            ["    raise: canary weight 20 on VirtualService shop/web", "    raise: canary weight 20 on VirtualService gates/edge"],
            id="several, in two namespaces",
        ),
        pytest.param(
            [
                _driven({"virtualService": {"name": "leaf.team"}}),
                _named("root", http=[{"match": [{"uri": {"prefix": "/"}}], "delegate": {"name": "leaf", "namespace": "team"}}]),
                {**_named("leaf", "team"), "spec": {"http": [{"route": _pair(_FULL)}]}},
            ],
            ["    raise: canary weight 20 on VirtualService team/leaf", "--- VirtualService/team/leaf"],
            id="a delegate",
        ),
        pytest.param(
            [
                _driven(
                    {"virtualService": {"name": "web"}, "destinationRule": {"name": "web", "canarySubsetName": "canary", "stableSubsetName": "stable"}},
                    canaryService="", stableService="",
                ),
                _named("web", http=[{"route": _SUBSETS}]), _RULE,
            ],
            ["  begin: the canary's names come over (canary weight 0)", "    repoint: subsets select canary=", "--- DestinationRule/shop/web", "  after the promotion (canary weight 0)"],
            id="subsets",
        ),
        pytest.param(
            [_driven({"virtualService": {"name": "web", "routes": ["primary"]}}, **PING_PONG), _named("web")],
            ["  after the promotion: ping and pong change their roles (canary weight 0)\n    no route object changes"],
            id="ping and pong",
        ),
    ],
)  # fmt: skip
def test_every_kind_of_route_is_shown(objects: list[Object], lines: list[str]) -> None:
    code, said, trouble = serinus("-f", "-", text=manifests(*objects))
    assert code == 0, said + trouble
    for line in (
        *lines,
        "  step 1: setWeight: 20 (canary weight 20)",
        "  promotion: all",
        "  an abort",
    ):
        assert line in said, said


def test_a_root_is_refused_with_the_delegate_to_name() -> None:
    root = _named("web", http=[{"match": [{}], "delegate": {"name": "leaf", "namespace": "team"}}])
    ro = _driven({"virtualService": {"name": "web"}})
    code, said, _ = serinus("-f", "-", text=manifests(ro, root))
    assert code == 1
    assert (
        "delegates to the VirtualService 'leaf.team', which has the weights: name that one" in said
    )


def test_without_a_router_no_route_changes() -> None:
    plain = rollout([{"setWeight": 20}])
    canary = plain["spec"]["strategy"]["canary"]
    for member in ("trafficRouting", "canaryService", "stableService"):
        del canary[member]
    code, said, _ = serinus("-f", "-", text=manifests(plain))
    assert (code, "no router" in said) == (0, True)


def test_help_has_examples() -> None:
    code, said, _ = serinus("--help")
    assert (code, "serinus plan -f deploy/ --live" in said) == (0, True)


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[Path]:
    """A cluster with a VirtualService that Git does not have."""
    route = virtual_service()
    route["spec"]["http"][1]["route"][1]["weight"] = 7
    made = a_rollout([])
    with cluster_with(
        [route, {**made, "spec": {**made["spec"], "replicas": 1}}], tmp_path
    ) as found:
        yield found


def test_live_takes_the_route_objects_from_the_cluster(kubeconfig: Path, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(manifests(a_rollout()))
    code, said, trouble = serinus("-f", file, "--live", "--kubeconfig", kubeconfig)
    assert code == 0, said + trouble
    assert "    -      weight: 7\n" in said
    missing = tmp_path / "missing"
    code, _, trouble = serinus("-f", file, "--live", "--kubeconfig", missing)
    assert (code, "missing" in trouble) == (1, True)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param({}, id="by host"),
        pytest.param({"by_subset": True}, id="by subset"),
        pytest.param({"ping_pong": True}, id="ping and pong"),
    ],
)
def test_the_plan_is_what_the_engine_does(kind: dict[str, Any]) -> None:
    """The same states of the route objects, in the same order, by the production code on simulated pods."""
    world = istio_world(deepcopy(STEPS), managed=["beta"], **kind)
    kinds = ("VirtualService", "DestinationRule")
    world.set_image("v2")
    routes = {ref: obj for ref, obj in world.objects.items() if ref.kind in kinds}
    said = preview(world.rollout, routes, (), world.routers)
    assert not said.is_refused
    planned = [
        (change.ref, change.after["spec"])
        for stage in said.stages
        if stage.kind != "abort"
        for change in stage.changes
    ]
    done: list[tuple[Ref, Any]] = []
    for _ in range(80):
        world.pods_follow()
        decision = world.one_pass()
        done += [
            (write.ref, deepcopy(world.objects[write.ref]["spec"]))
            for write in decision.writes
            if write.ref.kind in kinds
        ]
        world.now += timedelta(seconds=1)
    assert done == planned
