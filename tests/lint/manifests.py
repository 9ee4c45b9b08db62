"""A shop that the linter has nothing to say about, and ways to spoil it."""

from collections.abc import Callable
from typing import Any

import yaml

from agent.analysis.providers.registry import providers
from agent.api.meta import Object
from agent.http import Http
from agent.lint.checks import linted
from agent.lint.finding import Finding
from agent.lint.source import read
from agent.lint.world import World
from tests.simulation.manifests import rollout, service, virtual_service

Objects = dict[str, Any]
"""The manifests, each under a short name; a value that is a text is a document of its own making."""

PROVIDERS = providers(Http(), {"prometheus_address": "http://prometheus"})
CANARY = 'istio_requests_total{reporter="source",destination_service_name="{{args.service}}"'
QUERY = (
    f'1 - (sum(rate({CANARY},response_code=~"5.*"}}[2m])) or vector(0)) / sum(rate({CANARY}}}[2m]))'
)
CONDITION = "len(result) > 0 && !isNaN(result[0]) && result[0] >= 0.95"


def shop() -> Objects:
    """Rollout, Services, VirtualService, template and Application, as they should be."""
    steps: list[dict[str, Any]] = [
        {"setWeight": 10},
        {"pause": {"duration": "5m"}},
        {"analysis": analysis()},
        {"setWeight": 50},
        {"pause": {"duration": "5m"}},
    ]
    made = rollout(steps)
    made["metadata"]["annotations"] = {"serinus.dev/abort-on": 'severity="critical"'}
    container = made["spec"]["template"]["spec"]["containers"][0]
    container["readinessProbe"] = {"httpGet": {"path": "/", "port": 8080}}
    return {
        "rollout": made,
        "stable": service("web-stable"),
        "canary": service("web-canary"),
        "route": virtual_service(),
        "template": template(),
        "application": application(),
    }


def analysis() -> Object:
    return {
        "templates": [{"templateName": "success-rate"}],
        "args": [{"name": "service", "value": "web-canary"}],
    }


def template() -> Object:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": "success-rate", "namespace": "shop"},
        "spec": {
            "args": [{"name": "service", "value": "web-canary"}],
            "metrics": [
                {
                    "name": "success-rate",
                    "interval": "30s",
                    "count": 5,
                    "failureLimit": 1,
                    "consecutiveErrorLimit": 4,
                    "successCondition": CONDITION,
                    "provider": {
                        "prometheus": {"address": "http://prometheus:9090", "query": QUERY}
                    },
                }
            ],
        },
    }


def application() -> Object:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "shop", "namespace": "argocd"},
        "spec": {
            "ignoreDifferences": [{"group": "networking.istio.io", "kind": "VirtualService"}],
            "syncPolicy": {"syncOptions": ["RespectIgnoreDifferences=true"]},
        },
    }


def text_of(objects: Objects) -> str:
    """The manifests as one file."""
    return "".join(
        item if isinstance(item, str) else f"---\n{yaml.safe_dump(item, sort_keys=False)}"
        for item in objects.values()
    )


def findings_in(*texts: str, ignore: frozenset[str] = frozenset()) -> tuple[Finding, ...]:
    """What the linter says of files with these texts."""
    sources = [read(text, f"{number}.yaml") for number, text in enumerate(texts, start=1)]
    return linted(World(sources, providers=PROVIDERS), ignore=ignore)


def codes_in(*texts: str) -> list[str]:
    return [finding.code for finding in findings_in(*texts)]


def spoilt(spoil: Callable[[Objects], None]) -> str:
    """The shop with one thing wrong."""
    objects = shop()
    spoil(objects)
    return text_of(objects)


def at(obj: Any, path: str) -> Any:
    """The value at a dotted path with numbers."""
    for part in path.split("."):
        obj = obj[int(part)] if part.isdigit() else obj[part]
    return obj


def put(name: str, path: str, value: Any) -> Callable[[Objects], None]:
    """Set a value in one of the objects; `path` as `at` takes it."""

    def spoil(objects: Objects) -> None:
        place, _, last = path.rpartition(".")
        inner = at(objects[name], place) if place else objects[name]
        inner[int(last) if last.isdigit() else last] = value

    return spoil


def drop(name: str, path: str) -> Callable[[Objects], None]:
    """Take a value out of one of the objects."""

    def spoil(objects: Objects) -> None:
        place, _, last = path.rpartition(".")
        inner = at(objects[name], place) if place else objects[name]
        del inner[int(last) if last.isdigit() else last]

    return spoil


def both(*spoils: Callable[[Objects], None]) -> Callable[[Objects], None]:
    def spoil(objects: Objects) -> None:
        for one in spoils:
            one(objects)

    return spoil


def by_deployment() -> Callable[[Objects], None]:
    """The same shop whose pods are a Deployment's."""

    def spoil(objects: Objects) -> None:
        spec = objects["rollout"]["spec"]
        objects["deployment"] = {
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"replicas": 3, "selector": spec.pop("selector"), "template": spec.pop("template")},
        }  # fmt: skip
        spec["workloadRef"] = {
            "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "scaleDown": "progressively",
        }  # fmt: skip

    return spoil


def experiment(*spoils: Callable[[Objects], None]) -> Callable[[Objects], None]:
    """The same shop with an Experiment that is in order, and then spoilt."""

    def spoil(objects: Objects) -> None:
        spec = shop()["rollout"]["spec"]
        version = {
            "name": "canary",
            "replicas": 1,
            "selector": spec["selector"],
            "template": spec["template"],
        }
        value = "{{templates.canary.podTemplateHash}}"
        look = {
            "name": "look",
            "templateName": "success-rate",
            "args": [{"name": "service", "value": value}],
        }
        objects["experiment"] = {
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Experiment",
            "metadata": {"name": "try", "namespace": "shop"},
            "spec": {"duration": "1h", "templates": [version], "analyses": [look]},
        }  # fmt: skip
        for one in spoils:
            one(objects)

    return spoil
