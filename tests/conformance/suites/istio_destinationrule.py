"""Suite istio-destinationrule: which pods the subsets select, and when a switch must wait."""

from typing import Any

from tests.conformance.istio_case import judge


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    return judge(given, expect)
