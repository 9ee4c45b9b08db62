"""Which rollouts an alert is about."""

import pytest

from agent.api.meta import Key
from handlers.alert.matchers import parse_matchers
from handlers.alert.matching import Candidate, Rules, match, short_host

SHOP = Candidate(
    key=Key("shop", "checkout"),
    services=frozenset({"checkout", "checkout-canary", "shop-root"}),
    workloads=frozenset({"checkout"}),
    replica_sets={"checkout-6f9": "6f9", "checkout-7aa": "7aa"},
)
PAY = Candidate(
    key=Key("shop", "payment"),
    services=frozenset({"payment", "shop-root"}),
    workloads=frozenset({"payment"}),
    abort_on=parse_matchers('team=~"pay.*"'),
)
OTHER = Candidate(
    key=Key("lab", "checkout"), services=frozenset({"checkout"}), workloads=frozenset({"checkout"})
)
ALL = (SHOP, PAY, OTHER)


@pytest.mark.parametrize(
    ("labels", "keys", "level"),
    [
        pytest.param(
            {"rollout": "shop/checkout"},
            [SHOP.key],
            "rollout",
            id="a qualified name needs no namespace",
        ),
        pytest.param(
            {"rollout": "checkout", "namespace": "lab"},
            [OTHER.key],
            "rollout",
            id="name and namespace",
        ),
        pytest.param(
            {"rollout": "checkout"}, [], "label", id="a bare name without namespace matches nothing"
        ),
        pytest.param(
            {"namespace": "shop", "team": "payments", "service": "checkout"},
            [PAY.key],
            "annotation",
            id="the annotation wins over labels",
        ),
        pytest.param(
            {"namespace": "shop", "service": "checkout-canary"}, [SHOP.key], "label", id="a Service"
        ),
        pytest.param(
            {
                "destination_service_namespace": "shop",
                "destination_service": "payment.shop.svc.cluster.local",
            },
            [PAY.key],
            "label",
            id="a host with its domain",
        ),
        pytest.param(
            {"namespace": "shop", "destination_service": "payment.lab.svc.cluster.local"},
            [],
            "label",
            id="a host of another namespace",
        ),
        pytest.param(
            {"namespace": "shop", "deployment": "payment"}, [PAY.key], "label", id="a workload"
        ),
        pytest.param(
            {"namespace": "shop", "service": "shop-root"},
            [SHOP.key, PAY.key],
            "label",
            id="a shared host",
        ),
        pytest.param({"namespace": "shop", "app": "checkout"}, [], "label", id="app is opt-in"),
        pytest.param(
            {"namespace": "nowhere", "service": "checkout"}, [], "label", id="an unknown namespace"
        ),
        pytest.param({"namespace": "shop"}, [], "label", id="a namespace alone"),
    ],
)
def test_levels(labels: dict[str, str], keys: list[Key], level: str) -> None:
    found = match(labels, ALL, Rules())
    assert list(found.keys) == keys
    assert found.level == level


def test_a_label_can_be_opted_in() -> None:
    assert match(
        {"namespace": "shop", "app": "checkout"}, ALL, Rules(extra_labels=("app",))
    ).keys == (SHOP.key,)


def test_a_default_namespace_serves_alerts_without_one() -> None:
    assert match({"service": "checkout"}, ALL, Rules(default_namespace="shop")).keys == (SHOP.key,)


@pytest.mark.parametrize(
    ("labels", "pinned"),
    [
        ({"namespace": "shop", "pod": "checkout-7aa-x2x4p"}, "7aa"),
        ({"namespace": "shop", "replicaset": "checkout-6f9"}, "6f9"),
        ({"namespace": "shop", "service": "checkout", "rollouts_pod_template_hash": "abc"}, "abc"),
        ({"namespace": "shop", "service": "checkout"}, ""),
    ],
    ids=[
        "a pod",
        "a ReplicaSet",
        "the hash label as Prometheus spells it",
        "a Service pins nothing",
    ],
)
def test_pins_to_a_revision(labels: dict[str, str], pinned: str) -> None:
    assert match(labels, ALL, Rules()).pinned_hash == pinned


@pytest.mark.parametrize(
    ("host", "short"),
    [
        ("web", "web"),
        ("web.shop", "web"),
        ("web.shop.svc", "web"),
        ("web.shop.svc.cluster.local", "web"),
        ("web.pay.svc.cluster.local", ""),
        ("web.shop.example.com", ""),
        ("web.example.com", ""),
    ],
)
def test_only_a_service_of_the_namespace_has_a_short_name(host: str, short: str) -> None:
    assert short_host(host, "shop") == short
