"""Asks for what does not exist."""

from typing import Any

from tests.conformance.cases import Unsupported


def run(_given: dict[str, Any], _expect: dict[str, Any]) -> list[str]:
    raise Unsupported("not built")
