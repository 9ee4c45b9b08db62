"""Our CustomResourceDefinitions: as committed, structural, and open to everything that we do not read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from typer.testing import CliRunner

from agent.api.crds import DEFINITIONS, INT_OR_STRING, PRESERVE, Definition, manifest
from agent.cli.root import app
from agent.cluster.kinds import SHORT_NAMES
from agent.cluster.port import KINDS

COMMITTED = Path(__file__).parents[2] / "deploy" / "crds"


def schemas(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside of one, with its path."""
    yield path, schema
    for name, inner in (schema.get("properties") or {}).items():
        yield from schemas(inner, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if name in schema:
            yield from schemas(schema[name], f"{path}[]")


def root(definition: Definition) -> dict[str, Any]:
    found: dict[str, Any] = manifest(definition)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def at(kind: str, path: str) -> dict[str, Any]:
    (definition,) = (definition for definition in DEFINITIONS if definition.kind == kind)
    return dict(schemas(root(definition)))[path]


def test_the_committed_files_are_what_the_command_makes(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["crds", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    made = {file.name: file.read_text() for file in tmp_path.iterdir()}
    committed = {file.name: file.read_text() for file in COMMITTED.iterdir()}
    assert made == committed, "run `serinus crds --out deploy/crds`"


def test_the_printed_ones_are_the_same() -> None:
    done = CliRunner().invoke(app, ["crds"])
    assert list(yaml.safe_load_all(done.output)) == [manifest(one) for one in DEFINITIONS]
    assert "&id" not in done.output, "kubectl takes no references"


def test_they_are_of_the_kinds_of_the_port() -> None:
    for definition in DEFINITIONS:
        kind = KINDS[definition.kind]
        assert (kind.group, kind.version) == ("argoproj.io", "v1alpha1")
        assert (kind.plural, kind.namespaced) == (definition.plural, definition.namespaced)
        assert SHORT_NAMES[definition.kind] == (definition.short_name,)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.kind)
def test_nothing_is_pruned_and_everything_has_a_type(definition: Definition) -> None:
    for path, schema in schemas(root(definition)):
        open_to_all = schema.get(PRESERVE) is True
        if schema.get("type") == "object" and path != ".metadata":
            assert open_to_all or "additionalProperties" in schema, path
        assert "type" in schema or open_to_all or schema.get(INT_OR_STRING), path
        assert not (open_to_all and "additionalProperties" in schema), path


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.kind)
def test_only_rollouts_have_subresources(definition: Definition) -> None:
    version = manifest(definition)["spec"]["versions"][0]
    subresources = set(version.get("subresources") or {})
    assert subresources == ({"status", "scale"} if definition.kind == "Rollout" else set())


@pytest.mark.parametrize(
    ("kind", "path", "schema"),
    [
        pytest.param(
            "Rollout", ".spec.template", {"type": "object", PRESERVE: True},
            id="a pod template passes whole",
        ),
        pytest.param(
            "Rollout", ".spec.strategy.canary.steps[].pause.duration", {INT_OR_STRING: True},
            id="a pause lasts a number or a text",
        ),
        pytest.param(
            "Rollout", ".spec.strategy.canary.maxSurge", {INT_OR_STRING: True},
            id="a surge is a number or a share",
        ),
        pytest.param(
            "Rollout", ".status.observedGeneration", {"type": "string"},
            id="the observed generation is a text, as in Argo",
        ),
        pytest.param(
            "Rollout", ".status.HPAReplicas", {"type": "integer", "format": "int64"},
            id="the scale's replicas have Argo's spelling",
        ),
        pytest.param(
            "AnalysisTemplate", ".spec.metrics[].provider", {"type": "object", PRESERVE: True},
            id="a provider is its own business",
        ),
        pytest.param(
            "AnalysisRun", ".status.metricResults[].measurements[].metadata",
            {"type": "object", "additionalProperties": {"type": "string"}},
            id="metadata of a measurement are texts",
        ),
        pytest.param("Experiment", ".spec", {"type": "object", PRESERVE: True}, id="an experiment passes whole"),
    ],
)  # fmt: skip
def test_a_field_is_typed_as_we_read_it(kind: str, path: str, schema: dict[str, Any]) -> None:
    assert at(kind, path) == schema


def test_a_wire_type_that_no_schema_can_say_is_a_bug_of_ours() -> None:
    class Odd(msgspec.Struct):
        spec: int | bytes

    definition = Definition(kind="Odd", plural="odds", short_name="o", type=Odd, summary="")
    with pytest.raises(TypeError, match="no schema for"):
        manifest(definition)
