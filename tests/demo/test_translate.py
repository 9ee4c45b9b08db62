"""From VirtualService to Envoy routes, by the rules of istiod."""

from typing import Any

import pytest

from agent.demo.translate import (
    Cluster,
    Endpoint,
    bootstrap,
    clusters_of,
    endpoint_resource,
    route_configuration,
    share,
)
from agent.errors import Refused
from tests.traffic.objects import pair, subset_pair, to, virtual_service

STABLE = "outbound|80|stable|app.default.svc.cluster.local"
CANARY = "outbound|80|canary|app.default.svc.cluster.local"


def routes(*rules: dict[str, Any], namespace: str = "default") -> list[dict[str, Any]]:
    configuration = route_configuration(virtual_service(*rules, namespace=namespace), "7")
    found: list[dict[str, Any]] = configuration["virtual_hosts"][0]["routes"]
    return found


def weighted(route: dict[str, Any]) -> dict[str, int]:
    return {
        item["name"]: item["weight"] for item in route["route"]["weighted_clusters"]["clusters"]
    }


def test_several_destinations_become_weighted_clusters() -> None:
    (route,) = routes({"name": "primary", "route": subset_pair(90, 10)})
    assert (route["name"], route["match"]) == ("primary", {"prefix": "/"})
    assert weighted(route) == {STABLE: 90, CANARY: 10}


def test_a_weight_of_zero_is_left_out() -> None:
    (route,) = routes({"route": subset_pair(100, 0)})
    assert weighted(route) == {STABLE: 100}


def test_a_lone_destination_takes_everything_whatever_its_weight() -> None:
    (route,) = routes({"route": [to("app", 10, subset="canary")]})
    assert route["route"]["cluster"] == CANARY


def test_short_hosts_resolve_in_the_namespace_of_the_virtual_service() -> None:
    (route,) = routes({"route": [to("app", port={"number": 8080})]}, namespace="web")
    assert route["route"]["cluster"] == "outbound|8080||app.web.svc.cluster.local"


def test_rules_after_a_catch_all_are_never_sent() -> None:
    matched = {"name": "a", "match": [{"uri": {"prefix": "/a"}}], "route": pair(100, 0)}
    found = routes(matched, {"name": "b", "route": pair(1, 1)}, {"name": "c", "route": pair(1, 1)})
    assert [route["name"] for route in found] == ["a", "b"]


def test_each_match_becomes_a_route() -> None:
    rule = {
        "name": "a",
        "match": [
            {"name": "x", "uri": {"exact": "/x"}, "headers": {"b": {"exact": "1"}}},
            {"uri": {"regex": "/y.*"}, "method": {"exact": "GET"}},
        ],
        "route": pair(100, 0),
    }
    first, second = routes(rule)
    assert (first["name"], second["name"]) == ("a.x", "a")
    assert first["match"] == {
        "path": "/x",
        "headers": [{"name": "b", "string_match": {"exact": "1"}}],
    }
    assert second["match"]["safe_regex"] == {"regex": "/y.*"}
    assert second["match"]["headers"][0]["name"] == ":method"


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param({"redirect": {"uri": "/"}}, id="a redirect"),
        pytest.param({"match": [{"port": 1}], "route": pair(1, 1)}, id="a match on the port"),
    ],
)
def test_what_the_proxy_cannot_do_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        routes(rule)


def test_clusters_are_found_at_weight_zero_too() -> None:
    found = clusters_of(virtual_service({"route": subset_pair(100, 0)}))
    assert [cluster.name for cluster in found] == [STABLE, CANARY]
    assert [cluster.stat for cluster in found] == ["app_stable", "app_canary"]


@pytest.mark.parametrize(
    ("route", "percent"),
    [
        (subset_pair(90, 10), 10),
        (subset_pair(1, 1), 50),
        (subset_pair(0, 0), 0),
        ([to("app", 5, subset="canary")], 100),
        ([to("app", 5, subset="stable")], 0),
    ],
)
def test_the_share_of_a_subset(route: list[dict[str, Any]], percent: int) -> None:
    assert share(virtual_service({"route": route}), "canary") == percent


def test_the_bootstrap_takes_routes_and_endpoints_from_files() -> None:
    cluster = Cluster("app.default.svc.cluster.local", "canary")
    start = bootstrap([cluster], routes_file="/r", endpoint_files={cluster: "/e"})
    (built,) = start["static_resources"]["clusters"]
    assert built["metadata"]["filter_metadata"]["istio"] == {
        "host": "app.default.svc.cluster.local",
        "name": "app",
        "namespace": "default",
        "subset": "canary",
    }
    source = built["eds_cluster_config"]["eds_config"]["path_config_source"]
    assert source == {"path": "/e"}


def test_endpoints_carry_their_version_and_number_of_pods() -> None:
    cluster = Cluster("app.default.svc.cluster.local", "canary")
    resource = endpoint_resource(cluster, [Endpoint("127.0.0.1", 1, "v2", pods=3)])
    (endpoint,) = resource["endpoints"][0]["lb_endpoints"]
    assert endpoint["load_balancing_weight"] == 3
    assert endpoint["metadata"]["filter_metadata"]["istio"] == {"version": "v2"}
