"""Suite istio-weights: what a weight does to VirtualServices."""

from typing import Any

from tests.conformance.istio_case import judge


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    return judge(given, expect)
