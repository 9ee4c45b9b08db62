"""Kubernetes' JSONPath (`{$.a[0].b}`, as kubectl takes it) on top of a JSONPath library. PURE.

Kubernetes differs in three ways: the braces, dots escaped by a backslash inside quoted keys, and that a
missing key or index is an error with its name while a filter without hits is not.
"""

import re
from typing import Any, Final

from agent.errors import Refused

MAX_LENGTH: Final = 2_048
_PLAIN: Final = re.compile(r"\.([\w-]+)|\[(-?\d+)\]|\[['\"]([^'\"]+)['\"]\]")


def find(path: str, document: Any) -> list[Any]:
    """All values at the path. Raises Refused: bad syntax, or a key or index that is not there."""
    # A twentieth of an agent's start: only who has such a path pays for it.
    import jsonpath
    from jsonpath.exceptions import JSONPathError

    if len(path) > MAX_LENGTH:
        raise Refused(f"the path is longer than {MAX_LENGTH} characters")
    inner = path.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1].strip()
    inner = inner.replace("\\.", ".")
    if not inner.startswith("$"):
        inner = f"${inner}" if inner.startswith((".", "[")) else f"$.{inner}"
    _check_steps(inner[1:], document)
    try:
        return [match.obj for match in jsonpath.finditer(inner, document)]
    except (JSONPathError, ValueError, TypeError) as error:
        raise Refused(str(error)) from error


def _check_steps(rest: str, current: Any) -> None:
    """Walk the plain steps at the head of the path, for errors that name what is missing."""
    position = 0
    while found := _PLAIN.match(rest, position):
        key = found.group(1) or found.group(3)
        if key is not None:
            if not isinstance(current, dict) or key not in current:
                raise Refused(f"{key} is not found")
            current = current[key]
        else:
            index = int(found.group(2))
            if not isinstance(current, list) or not -len(current) <= index < len(current):
                length = len(current) if isinstance(current, list) else 0
                raise Refused(f"array index out of bounds: index {index}, length {length}")
            current = current[index]
        position = found.end()
