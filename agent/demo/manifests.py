"""The page's manifests, completed by what the page leaves out, and the demo's faster clock.

`page/{strategy,analysis-template,virtual-service}.yaml` are the page's blocks as they stand;
`page/completion.yaml` is all that is added. Nothing here changes a value of the page but `hasten`, which
divides durations by one visible factor and says which.
"""

import re
from collections.abc import Mapping
from importlib import resources
from string import Template
from typing import Any, NamedTuple

import msgspec
import yaml

from agent.api.meta import Object
from agent.errors import Refused

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_WINDOW = re.compile(r"\[((?:\d+(?:ms|s|m|h))+)\]")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
MIN_WINDOW_SECONDS = 4.0
"""A rate needs some scrapes inside its window; the demo scrapes every second."""


class Setup(msgspec.Struct, frozen=True):
    """What the completion fills in. The name is that of the page's destination host."""

    name: str = "canary-demo"
    namespace: str = "demo"
    image: str = "canary-demo:v1"
    prometheus: str = "http://127.0.0.1:9090"


class Manifests(NamedTuple):
    """Complete objects, to be created in this order."""

    service: Object
    destination_rule: Object
    virtual_service: Object
    analysis_template: Object
    rollout: Object


class Shortened(NamedTuple):
    """A duration that `hasten` divided: where it is, and both values."""

    path: str
    before: str
    after: str


def page() -> dict[str, Any]:
    """The page's blocks as parsed YAML: `rollout` (its strategy under spec), `analysisTemplate`, `virtualService`."""
    return {
        "rollout": {"spec": _load("strategy.yaml")},
        "analysisTemplate": _load("analysis-template.yaml"),
        "virtualService": _load("virtual-service.yaml"),
    }


def complete(setup: Setup) -> Manifests:
    """The page's objects with the completion laid under them. Refused when the two contradict."""
    values = msgspec.to_builtins(setup)
    completion = _filled(_load("completion.yaml"), values)
    replacements = completion.pop("replace")
    objects = {
        name: lay(_replaced(part, replacements), completion.pop(name), name)
        for name, part in page().items()
    }
    return Manifests(
        service=completion["service"],
        destination_rule=completion["destinationRule"],
        virtual_service=objects["virtualService"],
        analysis_template=objects["analysisTemplate"],
        rollout=objects["rollout"],
    )


def lay(own: Any, added: Any, path: str) -> Any:
    """`own` completed by `added`: maps by key, lists by position. Refused on two different values."""
    if isinstance(own, Mapping) and isinstance(added, Mapping):
        merged = {key: lay(own[key], added[key], f"{path}.{key}") for key in own if key in added}
        return {**own, **{key: added[key] for key in added if key not in own}, **merged}
    if isinstance(own, list) and isinstance(added, list):
        both = [
            lay(left, right, f"{path}[{index}]")
            for index, (left, right) in enumerate(zip(own, added, strict=False))
        ]
        return both + (own if len(own) > len(added) else added)[len(both) :]
    if own != added:
        raise Refused("the completion contradicts the page", field=path)
    return own


def with_image(rollout: Object, image: str) -> dict[str, Any]:
    """The merge patch that deploys another image, as `kubectl argo rollouts set image` would."""
    template = rollout["spec"]["template"]
    containers = [{**item, "image": image} for item in template["spec"]["containers"]]
    return {"spec": {"template": {"spec": {"containers": containers}}}}


def with_web_provider(template: Object, url: str) -> Object:
    """The AnalysisTemplate for a machine without Prometheus: the same condition on the proxy's counters.

    `url` answers `{"result": [ratio]}`, or an empty list while there was no traffic.
    """
    provider = {"web": {"url": url, "jsonPath": "{$.result}", "timeoutSeconds": 2}}
    metrics = [{**metric, "provider": provider} for metric in template["spec"]["metrics"]]
    return {**template, "spec": {**template["spec"], "metrics": metrics}}


def hasten(obj: Object, speed: float) -> tuple[Object, tuple[Shortened, ...]]:
    """The object with its pauses, intervals and PromQL windows divided by `speed`, and what was divided.

    Windows stay at MIN_WINDOW_SECONDS or above.
    """
    if speed == 1:
        return obj, ()
    changes: list[Shortened] = []
    return _hastened(obj, speed, str(obj.get("kind", "")), changes), tuple(changes)


def _hastened(value: Any, speed: float, path: str, changes: list[Shortened]) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _duration(item, speed, f"{path}.{key}", changes)
            if key in ("duration", "interval", "initialDelay") and isinstance(item, str | int)
            else _hastened(item, speed, f"{path}.{key}", changes)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [
            _hastened(item, speed, f"{path}[{index}]", changes) for index, item in enumerate(value)
        ]
    if isinstance(value, str) and path.endswith(".query"):
        return _windows(value, speed, path, changes)
    return value


def _duration(value: str | int, speed: float, path: str, changes: list[Shortened]) -> str:
    after = _go(seconds(str(value)) / speed)
    changes.append(Shortened(path, str(value), after))
    return after


def _windows(query: str, speed: float, path: str, changes: list[Shortened]) -> str:
    def shorten(match: re.Match[str]) -> str:
        after = _go(max(MIN_WINDOW_SECONDS, round(seconds(match[1]) / speed)))
        change = Shortened(path, f"[{match[1]}]", f"[{after}]")
        if change not in changes:
            changes.append(change)
        return change.after

    return _WINDOW.sub(shorten, query)


def seconds(text: str) -> float:
    """Seconds of `2m`, `1m30s`, or of plain digits. Refused for anything else."""
    if text.isdecimal():
        return float(text)
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise Refused(f"{text!r} is not a duration")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _go(value: float) -> str:
    """Whole seconds where possible, never 0: an interval of 0 would be none."""
    milliseconds = max(1, round(value * 1000))
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def _load(name: str) -> dict[str, Any]:
    text = (resources.files("agent.demo") / "page" / name).read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    """The completion with ${…} filled in; a name that is not known is a KeyError, here and not later."""
    if isinstance(value, Mapping):
        return {key: _filled(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    return Template(value).substitute(values) if isinstance(value, str) else value


def _replaced(value: Any, replacements: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _replaced(item, replacements) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, replacements) for item in value]
    if isinstance(value, str):
        for old, new in replacements.items():
            value = value.replace(old, new)
    return value
