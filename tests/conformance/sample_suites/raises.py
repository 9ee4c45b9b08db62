"""Crashes."""

from typing import Any


def run(_given: dict[str, Any], _expect: dict[str, Any]) -> list[str]:
    raise KeyError("shown")
