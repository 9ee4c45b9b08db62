"""Builtins over lists and maps, with and without predicates."""

from collections.abc import Iterable, Mapping
from functools import cmp_to_key
from typing import Any, Final

from agent.analysis.expression.arithmetic import converted
from agent.analysis.expression.interpreter import Builtin, Interpreter, fetch
from agent.analysis.expression.kinds import (
    ANY,
    Nothing,
    Pair,
    Slice,
    Table,
    Uint8,
    as_bytes,
    go_type,
    is_integer,
    is_list,
    is_map,
)
from agent.analysis.expression.nodes import ExpressionError
from agent.analysis.expression.values import binary, equal

_UNSET: Final = object()
_FEW: Final = 12


def _listed(value: Any) -> list[Any]:
    """What can be gone over: items of a list, bytes of a text."""
    if isinstance(value, bytes):
        return [Uint8(byte) for byte in value]
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        return [Uint8(byte) for byte in as_bytes(value)]
    if is_map(value) and not value:
        return []
    kind = "zero" if value is None else go_type(value)
    raise ExpressionError(f"reflect: call of reflect.Value.Len on {kind} Value")


def _true(found: Any) -> bool:
    if not isinstance(found, bool):
        raise converted(found, "bool")
    return found


def _holding(items: Iterable[tuple[int, Any]], holds: Builtin) -> Iterable[tuple[int, Any]]:
    """The items for which the predicate holds, with their indexes, one by one."""
    return ((index, item) for index, item in items if _true(holds(item, index)))


def _all(_: Interpreter, items: Any, holds: Builtin) -> bool:
    return all(_true(holds(item, index)) for index, item in enumerate(_listed(items)))


def _any(_: Interpreter, items: Any, holds: Builtin) -> bool:
    return any(_true(holds(item, index)) for index, item in enumerate(_listed(items)))


def _none(run: Interpreter, items: Any, holds: Builtin) -> bool:
    return not _any(run, items, holds)


def _one(_: Interpreter, items: Any, holds: Builtin) -> bool:
    return len(list(_holding(enumerate(_listed(items)), holds))) == 1


def _filter(
    run: Interpreter, items: Any, holds: Builtin, mapped: Builtin | None = None
) -> list[Any]:
    found = [
        mapped(item, index) if mapped else item
        for index, item in _holding(enumerate(_listed(items)), holds)
    ]
    run.budget.made(len(found))
    return found


def _map(run: Interpreter, items: Any, make: Builtin) -> list[Any]:
    found = [make(item, index) for index, item in enumerate(_listed(items))]
    run.budget.made(len(found))
    return found


def _count(
    _: Interpreter, items: Any, holds: Builtin | None = None, enough: int | None = None
) -> int:
    hits = 0
    for _hit in _holding(enumerate(_listed(items)), holds or (lambda item, _index: item)):
        hits += 1
        if hits == enough:
            break
    return hits


def _search(*, backwards: bool, wanted: int) -> Builtin:
    """The first or last hit (wanted 1) or its index (wanted 0); nil when there is none."""

    def search(
        _: Interpreter,
        items: Any,
        holds: Builtin,
        mapped: Builtin | None = None,
        throws: bool = False,
    ) -> Any:
        numbered = list(enumerate(_listed(items)))
        for hit in _holding(reversed(numbered) if backwards else numbered, holds):
            return mapped(hit[1], hit[0]) if mapped else hit[wanted]
        if throws:
            raise ExpressionError("reflect: slice index out of range")
        return None

    return search


def _sum(run: Interpreter, items: Any, make: Builtin | None = None) -> Any:
    total: Any = 0
    for index, item in enumerate(_listed(items)):
        total = binary("+", make(item, index) if make else item, total, run.budget)
    return total


def _reduce(_: Interpreter, items: Any, make: Builtin, initial: Any = _UNSET) -> Any:
    found = _listed(items)
    start, total = 0, initial
    if initial is _UNSET:
        if not found:
            raise ExpressionError("reduce of empty array with no initial value")
        start, total = 1, found[0]
    for index in range(start, len(found)):
        total = make(found[index], index, total)
    return total


def _group_by(_: Interpreter, items: Any, make: Builtin) -> Table:
    groups = Table("[]interface {}")
    for index, item in enumerate(_listed(items)):
        key = make(item, index)
        if not groups.has(key):
            groups.put(key, [])
        groups.get(key).append(item)
    return groups


def _ordered(run: Interpreter, keyed: list[Any], *, descending: bool) -> list[Any]:
    """Pairs of a key and an item, ordered by the key.

    Few are sorted by insertion, as in Go, so that NaN, which has no place, ends up in the same one.
    """

    def less(left: Any, right: Any) -> bool:
        run.budget.charge()
        one, other = (right, left) if descending else (left, right)
        return bool(binary("<", one[0], other[0], run.budget))

    if len(keyed) > _FEW:
        return sorted(keyed, key=cmp_to_key(lambda a, b: less(b, a) - less(a, b)))
    found = list(keyed)
    for end in range(1, len(found)):
        place = end
        while place and less(found[place], found[place - 1]):
            found[place - 1], found[place] = found[place], found[place - 1]
            place -= 1
    return found


def _sort(run: Interpreter, items: Any, order: Any = "asc") -> list[Any]:
    if not isinstance(order, str):
        raise ExpressionError(f"sort order argument must be a string (got {go_type(order)})")
    if order not in ("asc", "desc"):
        raise ExpressionError(f"invalid order {order}, expected asc or desc")
    known = type(items) is list or (
        isinstance(items, Slice) and items.element in ("int", "float64", "string")
    )
    if not known:
        return Nothing(ANY)
    found = list(items)
    run.budget.made(len(found))
    ordered = _ordered(run, [(item, item) for item in found], descending=order == "desc")
    return [item for _, item in ordered]


def _sort_by(run: Interpreter, items: Any, make: Builtin, order: Any = "asc") -> list[Any]:
    if not isinstance(order, str):
        raise ExpressionError("sortBy order argument must be a string")
    if order not in ("asc", "desc"):
        raise ExpressionError("unknown order, use asc or desc")
    keyed = [(make(item, index), item) for index, item in enumerate(_listed(items))]
    run.budget.made(len(keyed))
    ordered = _ordered(run, keyed, descending=order == "desc")
    return [item for _, item in ordered]


def _len(_: Interpreter, value: Any) -> int:
    if not isinstance(value, str | list | bytes | dict | Table):
        raise ExpressionError(f"invalid argument for len (type {go_type(value)})")
    return len(value)


def _end(index: int) -> Builtin:
    def take(_: Interpreter, value: Any) -> Any:
        try:
            return fetch(value, index)
        except ExpressionError:
            return None

    return take


def _get(_: Interpreter, base: Any, key: Any) -> Any:
    if base is None:
        return None
    if isinstance(base, Table):
        return base.get(key) if base.has(key) else None
    if isinstance(base, dict):
        return fetch(base, key)
    if not is_list(base) and not isinstance(base, str):
        return None
    if not is_integer(key) and not isinstance(key, float):
        raise ExpressionError(f"invalid operation: int({go_type(key)})")
    try:
        return fetch(base, key)
    except ExpressionError:
        return None


def _take(_: Interpreter, items: Any, count: Any) -> list[Any]:
    if not is_list(items):
        raise ExpressionError(f"cannot take from {go_type(items)}")
    if not is_integer(count) or isinstance(count, Uint8):
        raise ExpressionError(f"cannot take {go_type(count)} elements")
    if count < 0:
        raise ExpressionError("reflect.Value.Slice: slice index out of bounds")
    part = items[: int(count)]
    return Slice(items.element, part) if isinstance(items, Slice) else part


def _pairs(words: str, value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Table):
        return value.pairs()
    if isinstance(value, dict):
        return list(value.items())
    raise ExpressionError(words.format(go_type(value)))


def _keys(_: Interpreter, value: Any) -> list[Any]:
    return [key for key, _item in _pairs("cannot get keys from {}", value)]


def _values(_: Interpreter, value: Any) -> list[Any]:
    return [item for _key, item in _pairs("cannot get values from {}", value)]


def _to_pairs(_: Interpreter, value: Any) -> Slice:
    found = _pairs("cannot transform {} to pairs", value)
    return Slice(f"[2]{ANY}", (Pair(pair) for pair in found))


def _from_pairs(_: Interpreter, pairs: Any) -> Table:
    if not is_list(pairs):
        raise ExpressionError(f"cannot transform {go_type(pairs)} from pairs")
    found = Table(ANY)
    for pair in _listed(pairs):
        if not is_list(pair):
            raise ExpressionError(f"invalid pair {go_type(pair)}")
        if len(pair) != 2:
            raise ExpressionError(f"invalid pair length {len(pair)}")
        key, value = _listed(pair)
        found.put(key, value)
    return found


def _items(verb: str, value: Any) -> list[Any]:
    if not is_list(value):
        raise ExpressionError(f"cannot {verb} {go_type(value)}")
    return _listed(value)


def _uniq(run: Interpreter, items: Any) -> list[Any]:
    found: list[Any] = []
    for item in _items("uniq", items):
        if not any(equal(item, other, run.budget) for other in found):
            found.append(item)
    return found


def _concat(run: Interpreter, *lists: Any) -> list[Any]:
    found: list[Any] = []
    for items in lists:
        found += _items("concat", items)
        run.budget.sized(found)
    run.budget.made(len(found))
    return found or Nothing(ANY)


def _flatten(run: Interpreter, items: Any) -> list[Any]:
    found = _flat(run, _items("flatten", items))
    run.budget.made(len(found))
    return found


def _flat(run: Interpreter, items: list[Any]) -> list[Any]:
    found: list[Any] = []
    for item in items:
        run.budget.charge()
        found += _flat(run, _listed(item)) if is_list(item) else [item]
        run.budget.sized(found)
    return found


def _reverse(run: Interpreter, items: Any) -> list[Any]:
    found = list(_items("reverse", items)[::-1])
    run.budget.made(len(found))
    return found


BUILTINS: Final[Mapping[str, Builtin]] = {
    "all": _all,
    "any": _any,
    "none": _none,
    "one": _one,
    "filter": _filter,
    "map": _map,
    "count": _count,
    "find": _search(backwards=False, wanted=1),
    "findLast": _search(backwards=True, wanted=1),
    "findIndex": _search(backwards=False, wanted=0),
    "findLastIndex": _search(backwards=True, wanted=0),
    "sum": _sum,
    "reduce": _reduce,
    "groupBy": _group_by,
    "sort": _sort,
    "sortBy": _sort_by,
    "len": _len,
    "first": _end(0),
    "last": _end(-1),
    "get": _get,
    "take": _take,
    "keys": _keys,
    "values": _values,
    "toPairs": _to_pairs,
    "fromPairs": _from_pairs,
    "reverse": _reverse,
    "uniq": _uniq,
    "concat": _concat,
    "flatten": _flatten,
}
