"""The formats of findings, as their readers get them."""

import json

from agent.lint.checks import CODES
from agent.lint.finding import Finding, worst
from agent.lint.formats import as_github, as_json, as_sarif, explained

FOUND = (
    Finding(
        code="SRN104",
        level="warning",
        message="spec.steps[0].pause: waits for a person, without an end",
        fix="Write a duration.",
        field="spec.steps[0].pause",
        object="Rollout shop/web",
        file="a,b.yaml",
        line=7,
        column=3,
    ),
    Finding(code="SRN001", level="error", message="not YAML: 100 %", fix="Mend it.", file="-"),
)


def test_json() -> None:
    assert json.loads(as_json(FOUND, 3)) == {
        "findings": [
            {
                "code": "SRN104",
                "level": "warning",
                "message": "spec.steps[0].pause: waits for a person, without an end",
                "fix": "Write a duration.",
                "field": "spec.steps[0].pause",
                "object": "Rollout shop/web",
                "file": "a,b.yaml",
                "line": 7,
                "column": 3,
            },
            {
                "code": "SRN001",
                "level": "error",
                "message": "not YAML: 100 %",
                "fix": "Mend it.",
                "field": "",
                "object": "",
                "file": "-",
                "line": 0,
                "column": 0,
            },
        ],
        "summary": {"errors": 1, "warnings": 1, "objects": 3},
    }


def test_github() -> None:
    warning, error = as_github(FOUND).splitlines()
    assert warning == (
        "::warning file=a%2Cb.yaml,line=7,col=3,title=SRN104 a pause without a duration::Rollout shop/web: "
        "spec.steps[0].pause: waits for a person, without an end. Write a duration."
    )
    assert error == (
        "::error file=-,line=1,col=1,title=SRN001 the text cannot be read as YAML or JSON::"
        "not YAML: 100 %25. Mend it."
    )


def test_sarif() -> None:
    log = json.loads(as_sarif(FOUND, "1.2.3"))
    (run,) = log["runs"]
    assert (log["version"], run["tool"]["driver"]["version"]) == ("2.1.0", "1.2.3")
    rules = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
    assert set(rules) == {"SRN104", "SRN001"}
    assert rules["SRN001"]["defaultConfiguration"] == {"level": "error"}
    assert run["results"][0] == {
        "ruleId": "SRN104",
        "level": "warning",
        "message": {
            "text": "Rollout shop/web: spec.steps[0].pause: waits for a person, without an end. Write a duration."
        },
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": "a,b.yaml"},
                    "region": {"startLine": 7, "startColumn": 3},
                }
            }
        ],
    }
    region = run["results"][1]["locations"][0]["physicalLocation"]["region"]
    assert region == {"startLine": 1, "startColumn": 1}, "SARIF counts from 1"


def test_an_explanation_says_why_and_what_to_do() -> None:
    text = explained(CODES["SRN104"])
    assert text.startswith("SRN104 (warning): a pause without a duration\n\n")
    assert "\n\nFix: Write a duration" in text


def test_texts_of_codes_are_whole_sentences() -> None:
    for code in CODES.values():
        assert code.why.endswith("."), code
        assert code.fix.endswith((".", "`.")), code
        assert not code.title.endswith("."), code
        assert code.id[:3] in ("ARG", "SRN"), code


def test_the_worst_level_counts() -> None:
    assert worst(FOUND) == "error"
    assert worst(FOUND[:1]) == "warning"
    assert worst(()) is None
