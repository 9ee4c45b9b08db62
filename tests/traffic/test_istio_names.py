"""Which VirtualServices and DestinationRule a Rollout names."""

from typing import Any

import pytest

from agent.api.decode import read
from agent.api.meta import Key
from agent.api.rollout import Rollout
from agent.traffic import istio_names


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("web", ("home", "web")),
        ("web.prod", ("prod", "web")),
        ("web.v2.prod", ("prod", "web.v2")),
        ("web.prod.cluster.local", ("prod", "web")),
        ("web.prod.svc.cluster.local", ("svc", "web.prod")),
        ("web.cluster.local", ("home", "web")),
        ("", ("home", "")),
    ],
)
def test_resolve(name: str, place: tuple[str, str]) -> None:
    assert istio_names.resolve(name, "home") == place


def rollout(**istio: Any) -> Rollout:
    canary = {"trafficRouting": {"istio": istio}}
    spec = {"strategy": {"canary": canary}}
    return read(Rollout, {"metadata": {"namespace": "home"}, "spec": spec})


ONE: dict[str, Any] = {"virtualService": {"name": "a"}}
MANY: dict[str, Any] = {"virtualServices": [{"name": "b"}, {"name": ""}, {"name": "c.prod"}]}


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        (rollout(**ONE), (Key("home", "a"),)),
        (rollout(**MANY), (Key("home", "b"), Key("prod", "c"))),
        (rollout(**ONE, **MANY), ()),
        (rollout(), ()),
        (Rollout(), ()),
    ],
)
def test_virtual_services(given: Rollout, keys: tuple[Key, ...]) -> None:
    assert istio_names.virtual_service_keys(given) == keys


@pytest.mark.parametrize(
    ("istio", "one"), [(ONE, True), (MANY, True), ({"virtualServices": []}, True), ({}, False), ({**ONE, **MANY}, False)]
)  # fmt: skip
def test_one_form_must_be_chosen(istio: dict[str, Any], one: bool) -> None:
    found = istio_names.istio_of(rollout(**istio))
    assert found is not None
    assert istio_names.names_one_form(found) is one


def test_destination_rules_are_at_home() -> None:
    given = rollout(**ONE, destinationRule={"name": "d.prod"})
    assert istio_names.destination_rule_keys(given) == (Key("home", "d.prod"),)
    assert istio_names.destination_rule_keys(rollout(**ONE)) == ()
    assert istio_names.destination_rule_keys(rollout(destinationRule={"name": ""})) == ()
