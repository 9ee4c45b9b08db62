"""High-water marks: the last sighting of each rollout that was told about, and what waits to be published.

They are the members of one ConfigMap's `data`, one a rollout. A mark and the announcements that it stands for
are stored in one write, as frozen bytes: whoever publishes them, and how often, publishes the same. Pure.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from agent.api.meta import Key, Struct
from agent.engine import outbox
from agent.engine.outbox import Entry
from agent.rollout.sighting import Sighting

VERSION: Final = 1
MAX_BYTES: Final = 768 * 1024
"""Of all marks together. An object has room for 1 MiB, its own metadata included."""
MAX_NAME: Final = 253
"""Longest name of a member of a ConfigMap."""


class Mark(Struct):
    """One rollout's mark.

    Attributes:
        rollout: `namespace/name`.
        seen: None when the rollout is gone, and only its last announcements wait.
        waiting: what is not known to be published, the oldest first.
    """

    rollout: str
    v: int = 0
    seen: Sighting | None = None
    waiting: tuple[Entry, ...] = ()

    @property
    def key(self) -> Key:
        namespace, _, name = self.rollout.partition("/")
        return Key(namespace, name)


def member_of(key: Key) -> str:
    """Name of a rollout's member: neither part of its key can contain a `_`."""
    name = f"{key.namespace}_{key.name}"
    return name if len(name) <= MAX_NAME else hashlib.sha256(name.encode()).hexdigest()


def encode(mark: Mark) -> str:
    """The member's text."""
    return msgspec.json.encode(msgspec.structs.replace(mark, v=VERSION)).decode()


def decode(text: str) -> Mark:
    """Raises ValueError for what is no mark, or one of another version."""
    try:
        mark = msgspec.json.decode(text, type=Mark)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a mark: {error}") from error
    if mark.v != VERSION:
        raise ValueError(f"a mark of version {mark.v}, known is {VERSION}")
    return mark


def is_news(before: Mark | None, after: Mark) -> bool:
    """Whether a mark must be stored: a version in which nothing changed that is told about need not be."""
    if before is None:
        return True
    if before.seen is None or after.seen is None:
        return msgspec.structs.replace(after, v=before.v) != before
    same = msgspec.structs.replace(after.seen, version=before.seen.version)
    return msgspec.structs.replace(after, seen=same, v=before.v) != before


def bounded(
    marks: Mapping[Key, Mark], changes: Mapping[Key, Mark | None]
) -> dict[Key, Mark | None]:
    """The changes, and those that make room for them.

    Rollouts at rest are forgotten first: of them only a run that begins and ends while no companion lives
    is missed. Then announcements are coalesced as in an outbox, of the fullest mark first; what tells of a
    rollback goes last.
    """
    result = dict(changes)
    sizes = {key: _size(mark) for key, mark in marks.items()}
    sizes |= {key: _size(mark) for key, mark in changes.items()}
    total = sum(sizes.values())
    if total <= MAX_BYTES:
        return result
    merged = {key: mark for key, mark in {**marks, **changes}.items() if mark is not None}
    for key in sorted(merged, key=lambda key: _age(merged[key])):
        if total <= MAX_BYTES:
            return result
        if key not in changes and _rests(merged[key]):
            total -= sizes.pop(key)
            result[key] = None
            del merged[key]
    while total > MAX_BYTES and merged:
        key = max(merged, key=lambda key: (sizes[key], key))
        mark = merged[key]
        left = outbox.shortened(mark.waiting)
        if left == mark.waiting:
            break
        merged[key] = mark = msgspec.structs.replace(mark, waiting=left)
        result[key] = mark
        total += _size(mark) - sizes[key]
        sizes[key] = _size(mark)
    return result


def _size(mark: Mark | None) -> int:
    return 0 if mark is None else len(member_of(mark.key)) + len(encode(mark).encode()) + 8


def _rests(mark: Mark) -> bool:
    return not mark.waiting and (mark.seen is None or not mark.seen.in_progress)


def _age(mark: Mark) -> tuple[int, str]:
    version = mark.seen.version if mark.seen is not None else ""
    return int(version) if version.isdecimal() else 0, mark.rollout
