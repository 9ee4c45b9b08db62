"""Suite istio-managed-routes: header and mirror routes. Setting and removing them is not built yet."""

from typing import Any

from tests.conformance.cases import Unsupported
from tests.conformance.istio_case import judge


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    if any(action["do"] not in ("setWeight", "updateHash") for action in given["actions"]):
        raise Unsupported("managed routes")
    return judge(given, expect)
