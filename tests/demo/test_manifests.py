"""The demo's manifests are the page's, completed and nothing else."""

from collections.abc import Iterator
from typing import Any

import pytest

from agent.api.analysis import AnalysisTemplate
from agent.api.decode import read
from agent.api.rollout import Rollout
from agent.demo.manifests import (
    Setup,
    complete,
    hasten,
    lay,
    page,
    seconds,
    with_image,
    with_web_provider,
)
from agent.errors import Refused
from agent.traffic.istio import Istio
from tests.traffic.objects import observed

MANIFESTS = complete(Setup())
PARTS = {
    "rollout": MANIFESTS.rollout,
    "analysisTemplate": MANIFESTS.analysis_template,
    "virtualService": MANIFESTS.virtual_service,
}


def leaves(
    value: Any, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path, value


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        value = value[part]
    return value


PAGE_VALUES = [
    pytest.param(name, path, value, id=f"{name}:{'.'.join(map(str, path))}")
    for name, part in page().items()
    for path, value in leaves(part)
]


@pytest.mark.parametrize(("name", "path", "value"), PAGE_VALUES)
def test_every_value_of_the_page_survives(
    name: str, path: tuple[str | int, ...], value: Any
) -> None:
    found = at(PARTS[name], path)
    if isinstance(value, str):
        found = found.replace("{{args.service-name}}", "<service-name>")
    assert found == value
    assert type(found) is type(value)


def test_the_page_has_the_values_that_people_read_there() -> None:
    values = [value for part in page().values() for _, value in leaves(part)]
    for expected in (10, 30, 50, 100, "2m", "5m", "30s", "result[0] >= 0.95", "success-rate", 90):
        assert expected in values


def test_lists_of_the_page_get_no_further_items() -> None:
    for name, part in page().items():
        for path, _ in leaves(part):
            for depth, step in enumerate(path):
                if isinstance(step, int):
                    before, after = at(part, path[:depth]), at(PARTS[name], path[:depth])
                    assert len(before) == len(after)


def test_the_result_can_be_driven() -> None:
    ro = read(Rollout, MANIFESTS.rollout)
    objects = observed(MANIFESTS.virtual_service, MANIFESTS.destination_rule)
    assert Istio().validate(ro, objects) == ()
    assert Istio().canary_weight(ro, objects) == 10
    read(AnalysisTemplate, MANIFESTS.analysis_template)


def test_a_completion_never_overrides_the_page() -> None:
    with pytest.raises(Refused, match=r"rollout\.a\[0\]\.b: the completion contradicts the page"):
        lay({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, "rollout")


def test_one_factor_shortens_pauses_intervals_and_windows_and_is_told() -> None:
    rollout, pauses = hasten(MANIFESTS.rollout, 30)
    template, rest = hasten(MANIFESTS.analysis_template, 30)
    steps = rollout["spec"]["strategy"]["canary"]["steps"]
    assert [step["pause"]["duration"] for step in steps if "pause" in step] == ["4s", "4s", "10s"]
    assert [change.before for change in pauses] == ["2m", "2m", "5m"]
    assert [(change.before, change.after) for change in rest] == [("30s", "1s"), ("[2m]", "[4s]")]
    assert "[2m]" not in template["spec"]["metrics"][0]["provider"]["prometheus"]["query"]
    assert [step.get("setWeight") for step in steps] == [
        step.get("setWeight") for step in MANIFESTS.rollout["spec"]["strategy"]["canary"]["steps"]
    ]


def test_without_speed_the_manifest_is_the_same() -> None:
    assert hasten(MANIFESTS.rollout, 1) == (MANIFESTS.rollout, ())


@pytest.mark.parametrize(
    ("text", "value"), [("2m", 120), ("1m30s", 90), ("45", 45), ("1.5h", 5400), ("250ms", 0.25)]
)
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "2 m", "m", "2x", "-1s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        seconds(text)


def test_a_new_image_is_a_patch_of_the_template_only() -> None:
    patch = with_image(MANIFESTS.rollout, "canary-demo:v2")
    (container,) = patch["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "canary-demo:v2"
    assert list(patch["spec"]) == ["template"]


def test_without_prometheus_only_the_provider_changes() -> None:
    template = with_web_provider(MANIFESTS.analysis_template, "http://127.0.0.1:1/ratio")
    (before,), (after,) = (
        MANIFESTS.analysis_template["spec"]["metrics"],
        template["spec"]["metrics"],
    )
    assert after["provider"]["web"]["url"] == "http://127.0.0.1:1/ratio"
    assert {**after, "provider": None} == {**before, "provider": None}
