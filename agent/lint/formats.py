"""Findings for programs: JSON, GitHub's annotations, SARIF; and codes for people. PURE."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from agent.lint.checks import CODES
from agent.lint.finding import Finding
from agent.lint.world import Code

_SARIF: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_WIDTH: Final = 110


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """How many errors and warnings."""
    levels = [finding.level for finding in findings]
    return {"errors": levels.count("error"), "warnings": levels.count("warning")}


def as_json(findings: Sequence[Finding], objects: int) -> str:
    """One object: the findings, and how many there are in how many objects."""
    body = {
        "findings": [msgspec.to_builtins(finding) for finding in findings],
        "summary": {**counts(findings), "objects": objects},
    }
    return msgspec.json.format(msgspec.json.encode(body), indent=2).decode()


def as_github(findings: Sequence[Finding]) -> str:
    """Workflow commands: GitHub shows each beside its line in the pull request."""
    lines = []
    for finding in findings:
        place = {
            "file": finding.file,
            "line": str(finding.line or 1),
            "col": str(finding.column or 1),
            "title": f"{finding.code} {CODES[finding.code].title}",
        }
        where = ",".join(f"{name}={_property(value)}" for name, value in place.items())
        text = f"{finding.object}: {finding.message}" if finding.object else finding.message
        lines.append(f"::{finding.level} {where}::{_data(f'{text}. {finding.fix}')}")
    return "\n".join(lines)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def as_sarif(findings: Sequence[Finding], version: str) -> str:
    """A log of SARIF 2.1.0, as code scanning takes it."""
    used = [code for code in CODES.values() if any(item.code == code.id for item in findings)]
    body = {
        "$schema": _SARIF,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "serinus lint",
                        "version": version,
                        "rules": [_rule(code) for code in used],
                    }
                },
                "results": [_result(finding) for finding in findings],
            }
        ],
    }
    return msgspec.json.format(msgspec.json.encode(body), indent=2).decode()


def _rule(code: Code) -> dict[str, Any]:
    return {
        "id": code.id,
        "shortDescription": {"text": code.title},
        "fullDescription": {"text": code.why},
        "help": {"text": code.fix},
        "defaultConfiguration": {"level": code.level},
    }


def _result(finding: Finding) -> dict[str, Any]:
    text = f"{finding.object}: {finding.message}" if finding.object else finding.message
    return {
        "ruleId": finding.code,
        "level": finding.level,
        "message": {"text": f"{text}. {finding.fix}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": finding.file},
                    "region": {
                        "startLine": finding.line or 1,
                        "startColumn": finding.column or 1,
                    },
                }
            }
        ],
    }


def explained(code: Code) -> str:
    """A code for a terminal."""
    body = [
        f"{code.id} ({code.level}): {code.title}",
        "",
        *textwrap.wrap(code.why, _WIDTH),
        "",
        *textwrap.wrap(f"Fix: {code.fix}", _WIDTH),
    ]
    return "\n".join(body)


def page() -> str:
    """All codes as the second half of docs/lint.md."""
    parts = []
    for code in sorted(CODES.values(), key=lambda code: code.id):
        why = "\n".join(textwrap.wrap(code.why, _WIDTH))
        fix = "\n".join(textwrap.wrap(f"Fix: {code.fix}", _WIDTH))
        parts.append(f"### {code.id}: {code.title}\n\nLevel: {code.level}. {why}\n\n{fix}\n")
    return "\n".join(parts)
