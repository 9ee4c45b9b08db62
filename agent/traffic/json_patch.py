"""JSON Patch (RFC 6902) as plain data: build operations, and apply them to a copy.

Only what route plans need: `test`, `add`, `replace`, `remove`. The object after a plan is computed by
applying the plan's own patch, so what we predict and what we send cannot drift apart.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from difflib import SequenceMatcher
from typing import Any

import msgspec

from agent.api.meta import Object
from agent.errors import Conflict, Invalid

Operation = dict[str, Any]


def pointer(*parts: str | int) -> str:
    """A JSON Pointer (RFC 6901) of keys and indexes; "-" is the end of a list."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def check(path: str, value: Any) -> Operation:
    """The patch fails as a whole unless `value` is what is there."""
    return {"op": "test", "path": path, "value": deepcopy(value)}


def add(path: str, value: Any) -> Operation:
    return {"op": "add", "path": path, "value": deepcopy(value)}


def replace(path: str, value: Any) -> Operation:
    return {"op": "replace", "path": path, "value": deepcopy(value)}


def remove(path: str) -> Operation:
    return {"op": "remove", "path": path}


def put(path: str, holder: Mapping[str, Any], key: str, value: Any) -> list[Operation]:
    """Operations that set `key` of the observed object `holder` at `path`, guarded by what was read.

    An absent key cannot be tested in RFC 6902, so it is only added.
    """
    at = path + pointer(key)
    if key not in holder:
        return [add(at, value)]
    return [check(at, holder[key]), replace(at, value)]


def difference(path: str, before: Sequence[Any], after: Sequence[Any]) -> list[Operation]:
    """Insertions and removals that turn the list at `path` from `before` into `after`; items stay where they can.

    They rely on every index: the patch needs a test that the list is the one that was read.
    """
    old = [msgspec.json.encode(item, order="sorted") for item in before]
    new = [msgspec.json.encode(item, order="sorted") for item in after]
    operations: list[Operation] = []
    for tag, start, end, new_start, new_end in reversed(
        SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    ):
        if tag == "equal":
            continue
        operations += [remove(path + pointer(index)) for index in reversed(range(start, end))]
        operations += [
            add(path + pointer(start), item) for item in reversed(after[new_start:new_end])
        ]
    return operations


def guards_first(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """The same operations with all `test`s in front: they speak about the object as it was read."""
    listed = list(operations)
    tests: list[Operation] = []
    for operation in listed:
        if operation["op"] == "test" and operation not in tests:
            tests.append(operation)
    return (*tests, *(operation for operation in listed if operation["op"] != "test"))


def apply(obj: Object, patch: Iterable[Operation]) -> Object:
    """A copy of `obj` with the patch applied.

    Raises Conflict when a `test` fails, Invalid when a path does not exist or an operation is unknown.
    """
    result = deepcopy(obj)
    for operation in patch:
        _apply_one(result, operation)
    return result


def _apply_one(document: Any, operation: Operation) -> None:
    path = operation["path"]
    parts = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]
    if not parts:
        raise Invalid(f"JSON Patch {operation['op']}: the whole object cannot be addressed")
    holder = document
    for part in parts[:-1]:
        holder = _step(holder, part, path)
    kind, last = operation["op"], parts[-1]
    if kind == "test":
        if not _same(_step(holder, last, path, missing=Conflict), operation["value"]):
            raise Conflict(f"JSON Patch test failed at {path}")
    elif kind == "add":
        _insert(holder, last, deepcopy(operation["value"]), path)
    elif kind == "replace":
        _step(holder, last, path)
        holder[_key(holder, last)] = deepcopy(operation["value"])
    elif kind == "remove":
        _step(holder, last, path)
        del holder[_key(holder, last)]
    else:
        raise Invalid(f"JSON Patch operation {kind!r} is not supported")


def _key(holder: Any, part: str) -> Any:
    return int(part) if isinstance(holder, list) else part


def _step(holder: Any, part: str, path: str, missing: type[Conflict | Invalid] = Invalid) -> Any:
    if isinstance(holder, dict) and part in holder:
        return holder[part]
    if isinstance(holder, list) and part.isdecimal() and int(part) < len(holder):
        return holder[int(part)]
    raise missing(f"JSON Patch path {path} does not exist")


def _insert(holder: Any, part: str, value: Any, path: str) -> None:
    if isinstance(holder, dict):
        holder[part] = value
    elif isinstance(holder, list) and part == "-":
        holder.append(value)
    elif isinstance(holder, list) and part.isdecimal() and int(part) <= len(holder):
        holder.insert(int(part), value)
    else:
        raise Invalid(f"JSON Patch path {path} does not exist")


def _same(left: Any, right: Any) -> bool:
    """JSON equality: 1 equals 1.0, but true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)
