"""Suite lint: manifests as text, and what Argo's lint says to them.

Argo's findings, and those on texts that nobody can read, are compared. What Serinus has to say beside them
(warnings, and what it does not drive) is no part of the contract.
"""

from typing import Any

from agent.lint.checks import findings
from agent.lint.source import read
from agent.lint.world import World
from tests.conformance.compare import differences

OF_ARGO = ("ARG", "SRN001")


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    source = read(given["manifest"], f"manifest.{given['format']}")
    found = [
        finding.message
        for finding in findings(World([source], providers={}))
        if finding.code.startswith(OF_ARGO)
    ]
    got: dict[str, Any] = {"invalid": True, "error": found[0]} if found else {"valid": True}
    if "errorContains" in expect:
        wanted = expect["errorContains"]
        got["errorContains"] = wanted if wanted in got.get("error", "") else got.get("error")
    return differences(expect, got)
