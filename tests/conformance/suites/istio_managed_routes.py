"""Suite istio-managed-routes: header and mirror routes, their order, and taking them away."""

from typing import Any

from tests.conformance.istio_case import judge


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    return judge(given, expect)
