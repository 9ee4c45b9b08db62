"""The text of a file becomes documents that know where each of their fields stands. PURE.

Everything is bounded before it is built: YAML can ask for much with few characters.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import yaml

from agent.api.yaml_json import RESOLVERS, Loader

MAX_BYTES: Final = 4 * 1024 * 1024
"""Of one file."""
MAX_DEPTH: Final = 100
MAX_NODES: Final = 200_000
"""Of one document, with what its aliases stand for."""
_IGNORE: Final = re.compile(r"(?:^|\s)#\s*serinus-lint:\s*ignore=([A-Za-z0-9_, -]+)")
_SEGMENT: Final = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")
_COMMENT: Final = re.compile(r"\s*(#.*)?")


class Place(NamedTuple):
    """A line and a column, from 1."""

    line: int
    column: int


class Trouble(NamedTuple):
    """Why a text, or a part of it, cannot be read. `kind` is one of yaml, size, twice."""

    kind: str
    detail: str
    place: Place


class Document(NamedTuple):
    """One object of a file: its JSON, and the node that it was read from."""

    obj: Any
    node: yaml.Node

    def place(self, field: str) -> Place:
        """Where a field stands: its key, or that of the nearest field around it that is written."""
        return _place(self.node, segments(field))[0]

    def place_of(self, text: str, field: str, lines: Sequence[str]) -> Place:
        """Where a text stands in a field's value; where the field stands when it cannot be found."""
        place, node = _place(self.node, segments(field))
        first, last = node.start_mark.line, node.end_mark.line + 1
        for number, line in enumerate(lines[first:last], start=first + 1):
            if text in line:
                return Place(number, line.index(text) + 1)
        return place


class Source(NamedTuple):
    """A file.

    Attributes:
        lines: of the text.
        ignored: by line, the codes that a comment lets pass there; line 0 is not used.
        spans: first and last line of each document, with the codes that a comment at its head lets pass.
    """

    name: str
    documents: tuple[Document, ...]
    troubles: tuple[Trouble, ...]
    lines: tuple[str, ...]
    ignored: dict[int, frozenset[str]]
    spans: tuple[tuple[int, int, frozenset[str]], ...]

    def codes_in_comments(self) -> Iterator[tuple[Place, str]]:
        """Every code that a comment names, and where."""
        for number, line in enumerate(self.lines, start=1):
            for code in sorted(_codes(line)):
                yield Place(number, line.index(code) + 1), code

    def lets_pass(self, code: str, line: int) -> bool:
        """Whether a comment says that this code does not matter at this line."""
        if code in self.ignored.get(line, ()):
            return True
        return any(first <= line <= last and code in codes for first, last, codes in self.spans)


def segments(field: str) -> tuple[str, ...]:
    """`spec.metrics[0].provider.plugin[a/b]` as its parts; numbers stay texts."""
    return tuple(inner.strip("\"'") or plain for inner, plain in _SEGMENT.findall(field))


def read(text: str, name: str) -> Source:
    """The documents of a YAML (or JSON) text, Lists unpacked, up to the first that cannot be read."""
    if len(text) > MAX_BYTES:
        trouble = Trouble("size", f"longer than {MAX_BYTES} characters", Place(1, 1))
        return Source(name, (), (trouble,), (), {}, ())
    if text.lstrip()[:1] in ("{", "["):
        # JSON may be indented with tabs, which YAML does not take; inside its texts there are none.
        text = text.replace("\t", " ")
    documents: list[Document] = []
    troubles: list[Trouble] = []
    spans: list[tuple[int, int, frozenset[str]]] = []
    lines = text.splitlines()
    try:
        _measure(text)
        for node in yaml.compose_all(text, Loader=_Fast):
            if node is None:  # of an empty document
                continue  # type: ignore[unreachable]
            _count(node, {}, [])
            troubles += _twins(node)
            documents += _unpacked(_built(node), node)
            spans.append(_span(node, lines))
    except _TooLarge as error:
        troubles.append(Trouble("size", str(error), error.place))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        said = ", ".join(part for part in (error.problem, error.context) if part)
        troubles.append(Trouble("yaml", said or "cannot be read", place))
    except yaml.YAMLError as error:
        troubles.append(Trouble("yaml", " ".join(str(error).split()), Place(1, 1)))
    return Source(
        name, tuple(documents), tuple(troubles), tuple(lines), _ignored(lines), tuple(spans)
    )


class _TooLarge(Exception):
    def __init__(self, detail: str, mark: Any) -> None:
        super().__init__(detail)
        self.place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)


class _Fast(getattr(yaml, "CSafeLoader", Loader)):  # type: ignore[misc]  # libyaml may be missing
    """libyaml where there is one: ten times as fast."""


_Fast.yaml_implicit_resolvers = RESOLVERS


def _measure(text: str) -> None:
    """Nesting, by events, up to where composing stops: that recurses, in libyaml without a bound. Raises _TooLarge."""
    depth = 0
    with contextlib.suppress(yaml.YAMLError):
        for event in yaml.parse(text, Loader=_Fast):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    raise _TooLarge(f"nested deeper than {MAX_DEPTH}", event.start_mark)
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1


def _count(node: yaml.Node, known: dict[int, int], path: list[int]) -> int:
    """Nodes below, each alias as often as it stands there. Raises _TooLarge."""
    if id(node) in path:
        raise _TooLarge("an anchor contains its own alias", node.start_mark)
    if id(node) not in known:
        path.append(id(node))
        parts = _parts(node)
        known[id(node)] = 1 + sum(_count(part, known, path) for part in parts)
        path.pop()
    if known[id(node)] > MAX_NODES:
        raise _TooLarge(f"more than {MAX_NODES} values", node.start_mark)
    return known[id(node)]


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _built(node: yaml.Node) -> Any:
    """The node as JSON. Raises yaml.YAMLError for what cannot be built."""
    loader = Loader("")
    try:
        return _json(loader.construct_document(node))
    except (ValueError, RecursionError) as error:
        raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from error
    finally:
        loader.dispose()


def _json(value: Any) -> Any:
    """Keys are texts in JSON; other values that YAML knows (binaries, sets) become texts.

    A null counts as an absent field, as in Kubernetes.
    """
    if isinstance(value, dict):
        return {_key(key): _json(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_json(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _key(key: Any) -> str:
    return ("true" if key else "false") if isinstance(key, bool) else str(key)


def _unpacked(obj: Any, node: yaml.Node) -> Iterator[Document]:
    if isinstance(obj, dict) and obj.get("kind") == "List":
        items, inner = obj.get("items"), _member(node, "items")
        if isinstance(items, list) and inner is not None:
            for item, part in zip(items, inner[1].value, strict=True):
                yield from _unpacked(item, part)
    elif obj is not None:
        yield Document(obj, node)


def _twins(node: yaml.Node) -> Iterator[Trouble]:
    """Keys that stand twice in one mapping: the second silently replaces the first."""
    waiting, seen = [node], {id(node)}
    while waiting:
        found = waiting.pop()
        keys: dict[str, None] = {}
        if isinstance(found, yaml.MappingNode):
            for key, _ in found.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    if key.value in keys:
                        yield Trouble("twice", f"the key {key.value!r} stands twice", _at(key))
                    keys[key.value] = None
        for part in _parts(found):
            if id(part) not in seen:
                seen.add(id(part))
                waiting.append(part)


def _at(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _place(node: yaml.Node, path: tuple[str, ...]) -> tuple[Place, yaml.Node]:
    """Where the key of a field stands, and its value; of the nearest one around it that is written."""
    found = _at(node)
    while path:
        head, rest = path[0], path[1:]
        if isinstance(node, yaml.SequenceNode):
            if not head.isdecimal() or int(head) >= len(node.value):
                break
            node = node.value[int(head)]
            found = _at(node)
        else:
            # Argo's errors leave the strategy's name out of the path.
            member = _member(node, head) or next(
                (
                    inner
                    for name in ("canary", "blueGreen")
                    if (outer := _member(node, name)) and (inner := _member(outer[1], head))
                ),
                None,
            )
            if member is None:
                break
            found, node = _at(member[0]), member[1]
        path = rest
    return found, node


def _member(node: yaml.Node, name: str) -> "tuple[yaml.Node, yaml.Node] | None":
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == name:
                return key, value
    return None


def _ignored(lines: list[str]) -> dict[int, frozenset[str]]:
    """A comment counts for its line; one on a line of its own for the next line with something on it."""
    found: dict[int, frozenset[str]] = {}
    waiting: frozenset[str] = frozenset()
    for number, line in enumerate(lines, start=1):
        codes = _codes(line)
        if _COMMENT.fullmatch(line):
            waiting |= codes
            continue
        if codes | waiting:
            found[number] = codes | waiting
        waiting = frozenset()
    return found


def _codes(line: str) -> frozenset[str]:
    match = _IGNORE.search(line)
    return frozenset(code.strip() for code in match[1].split(",")) if match else frozenset()


def _span(node: yaml.Node, lines: list[str]) -> tuple[int, int, frozenset[str]]:
    """A document's lines, and the codes of the comments before its first key."""
    first, last = node.start_mark.line, node.end_mark.line + 1
    codes: frozenset[str] = frozenset()
    while first > 0 and _COMMENT.fullmatch(lines[first - 1]):
        first -= 1
        codes |= _codes(lines[first])
    return first + 1, last, codes
