"""What a server does not keep: fields that an older CRD's schema drops from what we write.

Without this the difference between wanted and stored would never close: every pass would write again.
"""

from collections.abc import Iterable
from itertools import zip_longest
from typing import Any, Final

import structlog

log = structlog.get_logger(__name__)

Path = tuple[str, ...]
ITEM: Final = "*"
"""Path element for "every item of the list"."""


class Pruned:
    """Remembers dropped fields by kind, and leaves them out of later differences."""

    def __init__(self) -> None:
        self._paths: dict[str, set[Path]] = {}

    def learn(self, kind: str, asked: dict[str, Any], stored: dict[str, Any]) -> None:
        """Compare a merge patch with the server's answer; warn once about each field it dropped."""
        known = self._paths.setdefault(kind, set())
        for path in missing(asked, stored):
            if path not in known:
                known.add(path)
                log.warning(
                    "cluster.field_pruned",
                    kind=kind,
                    field=".".join(path),
                    fix="update the CRD; the field is left out until the process restarts",
                )

    def keepable(self, kind: str, value: dict[str, Any]) -> dict[str, Any]:
        """The value without the fields that the server is known to drop."""
        for path in sorted(self._paths.get(kind, ())):
            value = _strip(value, path)
        return value


def merge_diff(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The smallest RFC 7386 merge patch that turns `before` into `after`; {} when they are equal.

    A null member counts as an absent one, as it does for the API server.
    """
    patch: dict[str, Any] = {
        name: None
        for name, value in before.items()
        if value is not None and after.get(name) is None
    }
    for name, value in after.items():
        if value is None:
            continue
        if before.get(name) is None:
            patch[name] = value
        elif isinstance(value, dict) and isinstance(before[name], dict):
            inner = merge_diff(before[name], value)
            if inner:
                patch[name] = inner
        elif value != before[name] or type(value) is not type(before[name]):
            patch[name] = value
    return patch


def missing(asked: Any, stored: Any, path: Path = ()) -> Iterable[Path]:
    """Paths that were asked for and are not in what was stored."""
    if isinstance(asked, dict) and isinstance(stored, dict):
        for name, value in asked.items():
            if value is None:
                continue
            if name not in stored:
                yield (*path, name)
            else:
                yield from missing(value, stored[name], (*path, name))
    elif isinstance(asked, list) and isinstance(stored, list) and len(asked) == len(stored):
        for one, other in zip(asked, stored, strict=True):
            yield from missing(one, other, (*path, ITEM))


def dropped_items(patch: Iterable[dict[str, Any]], stored: Any) -> tuple[str, ...]:
    """Members of list items that a JSON Patch has added and the server did not keep.

    The name of an item does not count: routers know their own by what they say.
    """
    lost: dict[str, None] = {}
    for operation in patch:
        value, parts = operation.get("value"), str(operation["path"]).split("/")[1:-1]
        if operation["op"] != "add" or not isinstance(value, dict):
            continue
        holder = stored
        for part in parts:
            holder = holder.get(part) if isinstance(holder, dict) else None
        if isinstance(holder, list):
            # Where it stands now depends on what else was added: the item that is nearest to it is the one.
            nearest: Any = min(holder, key=lambda item: _loss(value, item), default={})
            losses = [path for path in missing(value, nearest) if path != ("name",)]
            lost |= dict.fromkeys(".".join((*parts, *path)) for path in losses)
    return tuple(lost)


def _loss(asked: Any, stored: Any) -> int:
    """How many of the values asked for are not what is stored."""
    if isinstance(asked, dict):
        found = stored if isinstance(stored, dict) else {}
        return sum(_loss(value, found.get(name)) for name, value in asked.items())
    if isinstance(asked, list):
        items = stored if isinstance(stored, list) else []
        return sum(_loss(one, other) for one, other in zip_longest(asked, items))
    return int(asked != stored)


def _strip(value: Any, path: Path) -> Any:
    head, rest = path[0], path[1:]
    if head == ITEM:
        return [_strip(item, rest) for item in value] if isinstance(value, list) else value
    if not isinstance(value, dict) or head not in value:
        return value
    if not rest:
        return {name: item for name, item in value.items() if name != head}
    return {**value, head: _strip(value[head], rest)}
