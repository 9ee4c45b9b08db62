"""Builtins over lists and maps, with and without predicates."""

from collections.abc import Callable, Mapping
from functools import cmp_to_key
from typing import Any, Final

from agent.analysis.expression.interpreter import Function, Interpreter, fetch
from agent.analysis.expression.nodes import ExpressionError
from agent.analysis.expression.values import binary, equal, type_name

_UNSET: Final = object()


def _listed(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ExpressionError(f"builtin {name} takes only array (got {type_name(value)})")
    return value


def _true(name: str, found: Any) -> bool:
    if not isinstance(found, bool):
        raise ExpressionError(f"predicate of {name} should return boolean (got {type_name(found)})")
    return found


def _hits(name: str, items: Any, holds: Function) -> list[int]:
    """Indexes of the items for which the predicate holds."""
    found = _listed(name, items)
    return [index for index, item in enumerate(found) if _true(name, holds(item, index))]


def _first_hit(name: str, items: Any, holds: Function, *, last: bool) -> int | None:
    numbered = list(enumerate(_listed(name, items)))
    for index, item in reversed(numbered) if last else numbered:
        if _true(name, holds(item, index)):
            return index
    return None


def _all(_: Interpreter, items: Any, holds: Function) -> bool:
    return all(_true("all", holds(item, i)) for i, item in enumerate(_listed("all", items)))


def _any(_: Interpreter, items: Any, holds: Function) -> bool:
    return any(_true("any", holds(item, i)) for i, item in enumerate(_listed("any", items)))


def _none(run: Interpreter, items: Any, holds: Function) -> bool:
    return not _any(run, items, holds)


def _one(_: Interpreter, items: Any, holds: Function) -> bool:
    return len(_hits("one", items, holds)) == 1


def _filter(_: Interpreter, items: Any, holds: Function) -> list[Any]:
    return [items[index] for index in _hits("filter", items, holds)]


def _map(_: Interpreter, items: Any, make: Function) -> list[Any]:
    return [make(item, index) for index, item in enumerate(_listed("map", items))]


def _count(_: Interpreter, items: Any, holds: Function | None = None) -> int:
    return len(_hits("count", items, holds or (lambda item, _index: item)))


def _find(_: Interpreter, items: Any, holds: Function) -> Any:
    index = _first_hit("find", items, holds, last=False)
    return None if index is None else items[index]


def _find_last(_: Interpreter, items: Any, holds: Function) -> Any:
    index = _first_hit("findLast", items, holds, last=True)
    return None if index is None else items[index]


def _find_index(_: Interpreter, items: Any, holds: Function) -> int:
    index = _first_hit("findIndex", items, holds, last=False)
    return -1 if index is None else index


def _find_last_index(_: Interpreter, items: Any, holds: Function) -> int:
    index = _first_hit("findLastIndex", items, holds, last=True)
    return -1 if index is None else index


def _sum(run: Interpreter, items: Any, make: Function | None = None) -> Any:
    total: Any = 0
    for index, item in enumerate(_listed("sum", items)):
        total = binary("+", total, make(item, index) if make else item, run.budget)
    return total


def _reduce(_: Interpreter, items: Any, make: Function, initial: Any = _UNSET) -> Any:
    found = _listed("reduce", items)
    start, total = 0, initial
    if initial is _UNSET:
        if not found:
            raise ExpressionError("reduce of empty array with no initial value")
        start, total = 1, found[0]
    for index in range(start, len(found)):
        total = make(found[index], index, total)
    return total


def _group_by(_: Interpreter, items: Any, make: Function) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = {}
    for index, item in enumerate(_listed("groupBy", items)):
        key = make(item, index)
        if isinstance(key, list | dict):
            raise ExpressionError(f"cannot use {type_name(key)} as a key for groupBy")
        groups.setdefault(key, []).append(item)
    return groups


def _descending(name: str, order: Any) -> bool:
    if order not in ("asc", "desc"):
        raise ExpressionError(f"invalid order {order}, expected asc or desc ({name})")
    return bool(order == "desc")


def _ordering(run: Interpreter) -> Callable[[Any, Any], int]:
    def compare(left: Any, right: Any) -> int:
        run.budget.charge()
        if binary("<", left, right, run.budget):
            return -1
        return 1 if binary(">", left, right, run.budget) else 0

    return compare


def _sort(run: Interpreter, items: Any, order: Any = "asc") -> list[Any]:
    key = cmp_to_key(_ordering(run))
    return sorted(_listed("sort", items), key=key, reverse=_descending("sort", order))


def _sort_by(run: Interpreter, items: Any, make: Function, order: Any = "asc") -> list[Any]:
    keyed = [(make(item, i), item) for i, item in enumerate(_listed("sortBy", items))]
    compare = cmp_to_key(_ordering(run))
    ordered = sorted(keyed, key=lambda pair: compare(pair[0]), reverse=_descending("sortBy", order))
    return [item for _, item in ordered]


def _len(_: Interpreter, value: Any) -> int:
    if not isinstance(value, str | list | dict):
        raise ExpressionError(f"invalid argument for len (type {type_name(value)})")
    return len(value)


def _first(_: Interpreter, items: Any) -> Any:
    return items[0] if _listed("first", items) else None


def _last(_: Interpreter, items: Any) -> Any:
    return items[-1] if _listed("last", items) else None


def _get(_: Interpreter, base: Any, key: Any) -> Any:
    try:
        return None if base is None else fetch(base, key)
    except ExpressionError:
        return None


def _take(_: Interpreter, items: Any, count: Any) -> list[Any]:
    if type(count) is not int:
        raise ExpressionError(f"cannot take {type_name(count)} elements")
    if count < 0:
        raise ExpressionError(f"cannot take {count} elements")
    return _listed("take", items)[:count]


def _mapped(name: str, value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise ExpressionError(f"cannot get {name} from {type_name(value)}")
    return value


def _from_pairs(_: Interpreter, pairs: Any) -> dict[Any, Any]:
    found = {}
    for pair in _listed("fromPairs", pairs):
        if not isinstance(pair, list) or len(pair) != 2:
            raise ExpressionError("invalid pair in fromPairs")
        found[pair[0]] = pair[1]
    return found


def _uniq(run: Interpreter, items: Any) -> list[Any]:
    found: list[Any] = []
    for item in _listed("uniq", items):
        if not any(equal(item, other, run.budget) for other in found):
            found.append(item)
    return found


def _concat(run: Interpreter, *lists: Any) -> list[Any]:
    found: list[Any] = []
    for items in lists:
        found += _listed("concat", items)
        run.budget.sized(found)
    return found


def _flatten(run: Interpreter, items: Any) -> list[Any]:
    found: list[Any] = []
    for item in _listed("flatten", items):
        run.budget.charge()
        found += _flatten(run, item) if isinstance(item, list) else [item]
        run.budget.sized(found)
    return found


def _reverse(_: Interpreter, items: Any) -> list[Any]:
    return _listed("reverse", items)[::-1]


BUILTINS: Final[Mapping[str, Function]] = {
    "all": _all,
    "any": _any,
    "none": _none,
    "one": _one,
    "filter": _filter,
    "map": _map,
    "count": _count,
    "find": _find,
    "findLast": _find_last,
    "findIndex": _find_index,
    "findLastIndex": _find_last_index,
    "sum": _sum,
    "reduce": _reduce,
    "groupBy": _group_by,
    "sort": _sort,
    "sortBy": _sort_by,
    "len": _len,
    "first": _first,
    "last": _last,
    "get": _get,
    "take": _take,
    "keys": lambda _, value: list(_mapped("keys", value)),
    "values": lambda _, value: list(_mapped("values", value).values()),
    "toPairs": lambda _, value: [[key, item] for key, item in _mapped("pairs", value).items()],
    "fromPairs": _from_pairs,
    "reverse": _reverse,
    "uniq": _uniq,
    "concat": _concat,
    "flatten": _flatten,
}
