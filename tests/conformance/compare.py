"""Comparison of what an engine says with what a vector expects.

- Of `expect` itself only the keys that it holds count; a null there is compared.
- Values below are compared whole: maps unordered, lists ordered unless the suite says "as a set".
- In Kubernetes objects an empty map or list equals an absent one.
- Numbers are equal by value (1 and 1.0), floats within their last digits; true is not 1. NaN equals NaN.
"""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any


def differences(expect: Mapping[str, Any], got: Mapping[str, Any]) -> list[str]:
    """Differences in the keys that `expect` holds; a key that `got` lacks counts as null."""
    return [
        line for key in expect for line in value_differences(expect[key], got.get(key), path=key)
    ]


def value_differences(expect: Any, got: Any, *, path: str) -> list[str]:
    """Differences of two whole values; each line begins with the path to where they differ."""
    if isinstance(expect, Mapping) and isinstance(got, Mapping):
        lines = []
        for key in [*expect, *(key for key in got if key not in expect)]:
            below = f"{path}.{key}" if path else str(key)
            if key not in got:
                lines.append(f"{below}: expected {show(expect[key])}, got nothing")
            elif key not in expect:
                lines.append(f"{below}: expected nothing, got {show(got[key])}")
            else:
                lines += value_differences(expect[key], got[key], path=below)
        return lines
    if isinstance(expect, list | tuple) and isinstance(got, list | tuple):
        if len(expect) != len(got):
            return [f"{path}: expected {show(expect)}, got {show(got)}"]
        return [
            line
            for index, (wanted, given) in enumerate(zip(expect, got, strict=True))
            for line in value_differences(wanted, given, path=f"{path}[{index}]")
        ]
    if _same_scalar(expect, got):
        return []
    return [f"{path}: expected {show(expect)}, got {show(got)}"]


def object_differences(expect: Any, got: Any, *, path: str) -> list[str]:
    """Differences of two Kubernetes objects, where empty containers do not count."""
    return value_differences(without_empty(expect), without_empty(got), path=path)


def set_differences(expect: Iterable[Any], got: Iterable[Any], *, path: str) -> list[str]:
    """Differences of two lists whose order does not count."""
    missing, extra = list(expect), []
    for item in got:
        for index, wanted in enumerate(missing):
            if not object_differences(wanted, item, path=""):
                del missing[index]
                break
        else:
            extra.append(item)
    return [f"{path}: missing {show(item)}" for item in missing] + [
        f"{path}: not expected {show(item)}" for item in extra
    ]


def without_empty(value: Any) -> Any:
    """A copy without empty maps and lists, at any depth; an empty value itself becomes None."""
    if isinstance(value, Mapping):
        kept = {key: without_empty(item) for key, item in value.items()}
        return {
            key: item for key, item in kept.items() if item is not None or value[key] is None
        } or None
    if isinstance(value, list | tuple):
        return [without_empty(item) for item in value] or None
    return value


def show(value: Any) -> str:
    """The value as JSON, for people."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _same_scalar(expect: Any, got: Any) -> bool:
    if isinstance(expect, bool) or isinstance(got, bool):
        return expect is got
    if isinstance(expect, int | float) and isinstance(got, int | float):
        if math.isnan(expect) or math.isnan(got):
            return math.isnan(expect) and math.isnan(got)
        if isinstance(expect, int) and isinstance(got, int):
            return expect == got
        return math.isclose(expect, got, rel_tol=1e-9, abs_tol=1e-12)
    return type(expect) is type(got) and bool(expect == got)
