"""Hashes of revisions and steps."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import Refused
from agent.rollout import hashes, podspec_schema, step_schema
from agent.rollout.go_json import Types
from agent.rollout.hashes import fnv1a_32, pod_template_hash, pod_template_json, step_hash

TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "web", "image": "web:1"}]},
}


@pytest.mark.parametrize(
    ("data", "value"), [(b"", 0x811C9DC5), (b"a", 0xE40C292C), (b"foobar", 0xBF9CF968)]
)
def test_fnv(data: bytes, value: int) -> None:
    assert fnv1a_32(data) == value


def test_a_hash_is_the_decimal_sum_in_an_alphabet_without_vowels() -> None:
    text = pod_template_json(TEMPLATE)
    number = str(fnv1a_32(text.encode()))
    # '0' is character 48, and 48 mod 27 is 21: the digits are ten neighbours in the alphabet.
    assert pod_template_hash(TEMPLATE) == number.translate(
        str.maketrans("0123456789", "456789bcdf")
    )


def test_the_order_of_the_input_does_not_matter_but_its_content_does() -> None:
    turned = {
        "spec": {"containers": [{"image": "web:1", "name": "web"}]},
        "metadata": {"labels": {"app": "web"}},
    }
    assert pod_template_hash(turned) == pod_template_hash(TEMPLATE)
    other = copy.deepcopy(TEMPLATE)
    other["spec"]["containers"][0]["image"] = "web:2"
    assert pod_template_hash(other) != pod_template_hash(TEMPLATE)


def test_a_collision_count_is_part_of_the_hash_and_zero_is_one() -> None:
    found = {pod_template_hash(TEMPLATE, count) for count in (None, 0, 1, 2)}
    assert len(found) == 4


def test_a_collision_count_is_four_bytes_before_four_empty_ones() -> None:
    data = pod_template_json(TEMPLATE).encode() + b"\x01\x02\x00\x00" + b"\x00" * 4
    expected = str(fnv1a_32(data)).translate(str.maketrans("0123456789", "456789bcdf"))
    assert pod_template_hash(TEMPLATE, 0x0201) == expected


def test_unknown_and_empty_fields_do_not_count() -> None:
    noisy = copy.deepcopy(TEMPLATE)
    noisy["spec"].update({"fancyNewThing": 1, "volumes": [], "hostname": "", "tolerations": None})
    assert pod_template_json(noisy) == pod_template_json(TEMPLATE)


def test_no_template_is_an_empty_one() -> None:
    assert pod_template_json(None) == '{"metadata":{},"spec":{"containers":null}}'


def test_a_template_that_kubernetes_would_not_read_names_the_field() -> None:
    with pytest.raises(Refused, match=r"spec\.containers\[0\]\.env\[0\]\.value: expected a text"):
        pod_template_hash({"spec": {"containers": [{"env": [{"name": "N", "value": 5}]}]}})


@pytest.mark.parametrize(
    ("container", "text"),
    [
        pytest.param(
            {"name": "a", "securityContext": {"privileged": False, "capabilities": {"drop": ["ALL"]}}},
            '{"name":"a","resources":{},"securityContext":{"capabilities":{"drop":["ALL"]},"privileged":false}}',
            id="security context",
        ),
        pytest.param(
            {"name": "a", "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}},
            '{"name":"a","resources":{},"lifecycle":{"preStop":{"sleep":{"seconds":5}}}}',
            id="lifecycle",
        ),
        pytest.param(
            {"name": "a", "ports": [{"containerPort": 80, "name": "http"}, {}]},
            '{"name":"a","ports":[{"name":"http","containerPort":80},{"containerPort":0}],"resources":{}}',
            id="ports",
        ),
        pytest.param(
            {"name": "a", "env": [{"name": "M", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}}]},
            '{"name":"a","env":[{"name":"M","valueFrom":{"resourceFieldRef":{"resource":"limits.memory","divisor":"0"}}}],"resources":{}}',
            id="a divisor that is not given",
        ),
    ],
)  # fmt: skip
def test_containers(container: dict[str, Any], text: str) -> None:
    written = pod_template_json({"spec": {"containers": [container]}})
    assert written == '{"metadata":{},"spec":{"containers":[' + text + "]}}"


def test_ephemeral_containers_are_containers_with_a_target() -> None:
    spec = {"containers": [], "ephemeralContainers": [{"targetContainerName": "a", "tty": True}]}
    assert pod_template_json({"spec": spec}) == (
        '{"metadata":{},"spec":{"containers":[],"ephemeralContainers":'
        '[{"name":"","resources":{},"tty":true,"targetContainerName":"a"}]}}'
    )


@pytest.mark.parametrize(
    "table", [podspec_schema.STRUCTS, step_schema.STRUCTS], ids=["pod template", "steps"]
)
def test_every_type_that_a_table_names_is_in_it(table: dict[str, str]) -> None:
    types = Types(table)
    scalars = {"str", "int", "bool", "quantity", "intstr", "time", "raw"}
    for struct in table:
        names = [field.name for field in types.fields(struct)]
        assert len(names) == len(set(names))
        for field in types.fields(struct):
            kind = field.kind.strip("*[]{}")
            assert kind in scalars or kind in table, f"{struct}.{field.name}"


def test_steps() -> None:
    steps: list[dict[str, Any]] = [
        {"plugin": {"config": {"b": 1, "a": "<"}, "name": "p"}},
        {"setHeaderRoute": {"match": [{"headerName": "h"}], "name": "r"}},
    ]
    assert hashes.step_json({"canary": {"steps": steps}}) == (
        '[{"plugin":{"name":"p","config":{"b":1,"a":"\\u003c"}}},'
        '{"setHeaderRoute":{"name":"r","match":[{"headerName":"h","headerValue":null}]}}]'
    )


def test_only_a_canary_has_a_step_hash() -> None:
    assert step_hash({}) == ""
    assert step_hash({"blueGreen": {}, "canary": {"steps": []}}) == ""
    assert step_hash({"canary": {}}) != step_hash({"canary": {"steps": []}}) != ""


@given(st.lists(st.fixed_dictionaries({"setWeight": st.integers(0, 100)}), max_size=4))
def test_equal_steps_have_equal_hashes(steps: list[dict[str, int]]) -> None:
    one, two = {"canary": {"steps": steps}}, {"canary": {"steps": copy.deepcopy(steps)}}
    assert step_hash(one) == step_hash(two)
    more = {"canary": {"steps": [*steps, {"setWeight": 1}]}}
    assert step_hash(more) != step_hash(one)


@pytest.mark.parametrize("values", [("1", 1, True, 1.0), ("", 0, False, None, {}), (0, 0.0, "")])
def test_a_kept_hash_is_never_that_of_a_value_which_only_looks_equal(
    values: tuple[Any, ...],
) -> None:
    def outcome(image: Any, *, kept: bool) -> str:
        template = {"spec": {"containers": [{"name": "web", "image": image}]}}
        try:
            if kept:
                return str(hashes._pod_template_state(template))
            return str(fnv1a_32(pod_template_json(template).encode()))
        except Refused as error:
            return f"refused: {error}"

    for _ in range(2):
        for value in values:
            assert outcome(value, kept=True) == outcome(value, kept=False), value


def test_a_template_that_is_changed_in_place_has_another_hash() -> None:
    template = copy.deepcopy(TEMPLATE)
    before = pod_template_hash(template)
    template["spec"]["containers"][0]["image"] = "web:2"
    assert pod_template_hash(template) != before
    assert pod_template_hash(TEMPLATE) == before


def test_no_more_than_a_bound_is_kept() -> None:
    for number in range(hashes.MAX_STATES + 10):
        hashes._pod_template_state({"metadata": {"name": str(number)}})
    assert len(hashes._STATES) == hashes.MAX_STATES
    assert pod_template_hash({"metadata": {"name": "0"}}) == pod_template_hash(
        {"metadata": {"name": "0"}}
    )
