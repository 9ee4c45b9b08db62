"""JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386), without changing what they are given. Pure."""

from typing import Any

from agent.errors import Conflict, Invalid


class PatchTestFailed(Conflict):
    """A `test` operation did not hold. An API server answers 422 without details, not 409."""


class PatchNotApplicable(Invalid):
    """An operation names a place that is not there. An API server's answer is the same 422."""


def merge(target: Any, patch: Any) -> Any:
    """`target` after a merge patch: null removes a member, lists are replaced whole."""
    if not isinstance(patch, dict):
        return patch
    base = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            base.pop(name, None)
        else:
            base[name] = merge(base.get(name), value)
    return base


def apply(document: Any, operations: list[dict[str, Any]]) -> Any:
    """`document` after a JSON Patch.

    Raises PatchTestFailed, or PatchNotApplicable for an operation that cannot be carried out.
    """
    result = document
    for index, operation in enumerate(operations):
        try:
            result = _one(result, operation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise PatchNotApplicable(
                f"patch operation {index} ({operation.get('op')} {operation.get('path')}): {error}"
            ) from error
    return result


def _one(document: Any, operation: dict[str, Any]) -> Any:
    kind, path = operation["op"], _tokens(operation["path"])
    if kind == "test":
        try:
            actual = _get(document, path)
        except (KeyError, IndexError, TypeError):
            raise PatchTestFailed(f"test of {operation['path']} failed: it is absent") from None
        if not same(actual, operation["value"]):
            raise PatchTestFailed(
                f"test of {operation['path']} failed: it is {actual!r}, not {operation['value']!r}"
            )
        return document
    if kind == "add":
        return _put(document, path, operation["value"], insert=True)
    if kind == "replace":
        _get(document, path)
        return _put(document, path, operation["value"], insert=False)
    if kind == "remove":
        return _remove(document, path)
    if kind in ("move", "copy"):
        source = _tokens(operation["from"])
        value = _get(document, source)
        base = _remove(document, source) if kind == "move" else document
        return _put(base, path, value, insert=True)
    raise ValueError(f"unknown operation {kind!r}")


def _tokens(pointer: Any) -> list[str]:
    if pointer == "":
        return []
    if not isinstance(pointer, str) or not pointer.startswith("/"):
        raise ValueError(f"{pointer!r} is not a JSON pointer")
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/")]


def _get(document: Any, path: list[str]) -> Any:
    for token in path:
        document = (
            document[_index(document, token)] if isinstance(document, list) else document[token]
        )
    return document


def _put(document: Any, path: list[str], value: Any, *, insert: bool) -> Any:
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(document, list):
        copy: Any = list(document)
        if rest:
            copy[_index(copy, head)] = _put(copy[_index(copy, head)], rest, value, insert=insert)
        elif insert:
            position = len(copy) if head == "-" else _number(head)
            if position > len(copy):
                raise IndexError(f"index {head} is outside the list")
            copy.insert(position, value)
        else:
            copy[_index(copy, head)] = value
        return copy
    if not isinstance(document, dict):
        raise TypeError(f"{head!r} is not inside an object or a list")
    return {**document, head: _put(document[head], rest, value, insert=insert) if rest else value}


def _remove(document: Any, path: list[str]) -> Any:
    if not path:
        return None
    head, rest = path[0], path[1:]
    if isinstance(document, list):
        position = _index(document, head)
        changed = [_remove(document[position], rest)] if rest else []
        return [*document[:position], *changed, *document[position + 1 :]]
    if rest:
        return {**document, head: _remove(document[head], rest)}
    if head not in document:
        raise KeyError(head)
    return {name: value for name, value in document.items() if name != head}


def _index(items: list[Any], token: str) -> int:
    position = _number(token)
    if position >= len(items):
        raise IndexError(f"index {token} is outside the list")
    return position


def _number(text: str) -> int:
    """An index as the RFC writes it: digits without a sign or a leading zero."""
    if not (text.isascii() and text.isdecimal()) or (text[0] == "0" and text != "0"):
        raise ValueError(f"{text!r} is not an index")
    return int(text)


def same(one: Any, other: Any) -> bool:
    """Equality of JSON: 1 and 1.0 are equal, true and 1 are not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)
