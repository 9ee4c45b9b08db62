"""`serinus lint` as its user sees it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli.root import app
from agent.lint.source import MAX_BYTES
from tests.cli.live import cluster_with
from tests.lint.manifests import by_deployment, put, shop, spoilt, text_of

WAITS = spoilt(put("rollout", "spec.strategy.canary.steps.1.pause", {}))
WRONG = spoilt(put("rollout", "spec.strategy.canary.steps.0.setWeight", 101))


def serinus(*arguments: str | Path, text: str = "") -> tuple[int, str, str]:
    made = CliRunner().invoke(app, ["lint", *(str(item) for item in arguments)], input=text)
    return made.exit_code, made.stdout, made.stderr


@pytest.mark.parametrize(
    ("text", "arguments", "code"),
    [
        pytest.param(text_of(shop()), [], 0, id="in order"),
        pytest.param(WAITS, [], 0, id="a warning"),
        pytest.param(WAITS, ["--fail-on", "warning"], 1, id="a warning that counts"),
        pytest.param(WAITS, ["--fail-on", "warning", "--ignore", "SRN104"], 0, id="one that is passed over"),
        pytest.param(WRONG, [], 1, id="an error"),
        pytest.param(WRONG, ["--ignore", "SRN104,ARG001"], 0, id="an error that is passed over"),
        pytest.param("a: [", [], 1, id="no YAML"),
        pytest.param(text_of(shop()), ["--ignore", "SRN000"], 2, id="a code that is none"),
        pytest.param(text_of(shop()), ["--format", "xml"], 2, id="a format that is none"),
    ],
)  # fmt: skip
def test_exit_codes(text: str, arguments: list[str], code: int) -> None:
    got, said, trouble = serinus("-", *arguments, text=text)
    assert got == code, said + trouble


def test_without_files_it_says_how_it_is_used() -> None:
    code, _, trouble = serinus()
    assert (code, "name a file, a directory, or -" in trouble) == (2, True)
    code, _, trouble = serinus("/no/such/file")
    assert (code, "/no/such/file" in trouble) == (2, True)


def test_text_names_place_code_and_fix_without_colours() -> None:
    _, said, _ = serinus("-", text=WAITS)
    lines = said.splitlines()
    assert lines[0] == (
        "-:40:9: warning SRN104 spec.strategy.canary.steps[1].pause: waits for a person, without an end"
    )
    assert lines[1].startswith("    fix: Write a duration if nobody is meant to be asked")
    assert lines[1].endswith("[Rollout shop/web]")
    assert lines[-1] == "0 errors, 1 warning in 6 objects"
    assert "\x1b" not in said


def test_a_directory_is_looked_at_as_one(tmp_path: Path) -> None:
    objects = shop()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "route.yml").write_text(text_of({"route": objects.pop("route")}))
    (tmp_path / "rollout.yaml").write_text(text_of(objects))
    (tmp_path / "notes.txt").write_text("a: [")
    code, said, _ = serinus(tmp_path, "--format", "json")
    assert (code, [one["code"] for one in json.loads(said)["findings"]]) == (0, ["SRN007"])
    code, said, _ = serinus(tmp_path, "-R", "--format", "json")
    assert json.loads(said) == {
        "findings": [], "summary": {"errors": 0, "warnings": 0, "objects": 6},
    }  # fmt: skip


def test_github_and_sarif_are_for_their_readers() -> None:
    _, said, _ = serinus("-", "--format", "github", text=WAITS)
    assert said.startswith("::warning file=-,line=40,col=9,title=SRN104 ")
    assert serinus("-", "--format", "github", text=text_of(shop()))[1] == ""
    _, said, _ = serinus("-", "--format", "sarif", text=WAITS)
    assert json.loads(said)["runs"][0]["results"][0]["ruleId"] == "SRN104"


def test_a_namespace_is_given_to_objects_without_one() -> None:
    objects = shop()
    del objects["canary"]["metadata"]["namespace"]
    assert "SRN007" in serinus("-", text=text_of(objects))[1]
    assert "SRN007" not in serinus("-", "-n", "shop", text=text_of(objects))[1]


def test_a_file_that_is_too_long_is_a_finding() -> None:
    code, said, _ = serinus("-", text="x" * (MAX_BYTES + 10))
    assert (code, "SRN002" in said) == (1, True)


def test_codes_are_explained() -> None:
    code, said, _ = serinus("--explain", "srn104")
    assert (code, said.startswith("SRN104 (warning): a pause without a duration")) == (0, True)
    code, said, _ = serinus("--explain", "all")
    assert (code, said.count("\nFix: ")) == (0, said.count("): "))
    assert serinus("--explain", "SRN000")[0] == 2


def test_help_has_examples() -> None:
    code, said, _ = serinus("--help")
    assert (code, "serinus lint --explain SRN212" in said) == (0, True)


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[Path]:
    """A cluster that has the shop but the Rollout, and a rival of it."""
    objects = shop()
    rival = objects.pop("rollout")
    rival["metadata"]["name"] = "rival"
    rival["spec"]["replicas"] = 0
    named = [objects[name] for name in ("stable", "canary", "route", "template")]
    with cluster_with([*named, rival], tmp_path) as found:
        yield found


def test_live_looks_up_what_is_named(kubeconfig: Path, tmp_path: Path) -> None:
    alone = {"rollout": shop()["rollout"]}
    code, said, _ = serinus("-", "--format", "json", text=text_of(alone))
    assert {one["code"] for one in json.loads(said)["findings"]} == {"SRN007"}
    code, said, trouble = serinus(
        "-", "--live", "--kubeconfig", kubeconfig, "--format", "json", text=text_of(alone)
    )
    assert code == 1, said + trouble
    found = {one["code"]: one["message"] for one in json.loads(said)["findings"]}
    assert set(found) == {"SRN303"}, "what is there fits; the rival shares it"
    assert "clock_skew" not in said
    assert "Rollout shop/rival" in found["SRN303"]
    missing = shop()["rollout"]
    missing["spec"]["strategy"]["canary"]["canaryService"] = "nowhere"
    _, said, _ = serinus("-", "--live", "--kubeconfig", kubeconfig, text=text_of({"r": missing}))
    assert (
        'ARG003 spec.strategy.canary.canaryService: Invalid value: "nowhere": service "nowhere" not found'
        in said
    )
    code, _, trouble = serinus("-", "--live", "--kubeconfig", tmp_path / "no", text=text_of(alone))
    assert (code, trouble.startswith("error: ")) == (2, True)


def test_live_takes_the_pods_from_the_workload_in_the_cluster(tmp_path: Path) -> None:
    objects = shop()
    by_deployment()(objects)
    rollout = {"rollout": objects.pop("rollout")}
    named = [objects[name] for name in ("stable", "canary", "route", "template", "deployment")]
    with cluster_with(named, tmp_path) as found:
        _, said, _ = serinus("-", "--live", "--kubeconfig", found, text=text_of(rollout))
        assert re.findall(r"(?:ARG|SRN)\d+", said) == ["SRN101"], said
    objects["deployment"]["spec"]["selector"]["matchLabels"] = {"app": "other"}
    with cluster_with(named, tmp_path) as found:
        _, said, _ = serinus("-", "--live", "--kubeconfig", found, text=text_of(rollout))
        assert "ARG008 spec.workloadRef: spec.template.metadata.labels: Invalid value" in said
    with cluster_with(named[:-1], tmp_path) as found:
        _, said, _ = serinus("-", "--live", "--kubeconfig", found, text=text_of(rollout))
        assert "ARG008 spec.workloadRef: Deployment shop/web not found" in said


def test_a_template_that_is_in_no_cluster_is_an_error(kubeconfig: Path) -> None:
    text = spoilt(
        put("rollout", "spec.strategy.canary.steps.2.analysis.templates.0.templateName", "no")
    )
    _, said, _ = serinus("-", "--live", "--kubeconfig", kubeconfig, text=text)
    assert "ARG005" in said
    assert "AnalysisTemplate 'no' not found" in said
