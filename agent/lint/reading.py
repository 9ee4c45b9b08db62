"""Whether a text is a manifest at all. PURE."""

from collections.abc import Container, Iterator, Mapping
from typing import Final

from agent.lint.finding import Finding
from agent.lint.source import Place, Source
from agent.lint.world import Code, World

SRN001: Final = Code(
    "SRN001",
    "error",
    "the text cannot be read as YAML or JSON",
    "Nothing from this place on can be applied, and nothing from there on was looked at.",
    "Mend the syntax at the line that is named.",
)
SRN002: Final = Code(
    "SRN002",
    "error",
    "the text is too large",
    "An API server takes objects of up to 1.5 MiB. What is larger, or nested deeper, is not looked at.",
    "Split the file; leave out anchors that stand for more than they show.",
)
SRN003: Final = Code(
    "SRN003",
    "error",
    "a key stands twice",
    "The second one replaces the first without a word, or the manifest is refused, as the reader likes.",
    "Leave one of them.",
)
SRN004: Final = Code(
    "SRN004",
    "warning",
    "a document without apiVersion and kind",
    "It is no Kubernetes object, so nothing in it was looked at.",
    "Begin it with apiVersion and kind, or leave its file out.",
)
SRN005: Final = Code(
    "SRN005",
    "error",
    "an object without a name",
    "An API server refuses it, and nothing can refer to it.",
    "Write metadata.name.",
)
SRN006: Final = Code(
    "SRN006",
    "warning",
    "two documents are one object",
    "The one that is applied last wins. References were looked at with the last one.",
    "Leave one, or give each a name or a namespace of its own.",
)
SRN007: Final = Code(
    "SRN007",
    "warning",
    "an object that is named is not among the manifests",
    "Whether it exists and fits was not looked at.",
    "Lint its file, too, or look at the cluster with --live.",
)
SRN008: Final = Code(
    "SRN008",
    "warning",
    "a comment lets an unknown code pass",
    "It has no effect: codes look like SRN201.",
    "`serinus lint --explain all` lists the codes.",
)
CODES: Final = (SRN001, SRN002, SRN003, SRN004, SRN005, SRN006, SRN007, SRN008)
_TROUBLES: Final[Mapping[str, Code]] = {"yaml": SRN001, "size": SRN002, "twice": SRN003}
_WORDS: Final[Mapping[str, str]] = {"yaml": "not YAML: ", "size": "", "twice": ""}


def texts(world: World) -> Iterator[Finding]:
    """What is wrong with the texts themselves."""
    for source in world.sources:
        for trouble in source.troubles:
            message = _WORDS[trouble.kind] + trouble.detail
            yield _at(_TROUBLES[trouble.kind], source, trouble.place, message)
        for document in source.documents:
            obj = document.obj
            if not isinstance(obj, dict) or not (obj.get("apiVersion") and obj.get("kind")):
                message = "the document has no apiVersion and kind: it was not looked at"
                yield _at(SRN004, source, document.place(""), message)


def comments(world: World, known: Container[str]) -> Iterator[Finding]:
    """Comments that let codes pass which there are not."""
    for source in world.sources:
        for place, code in source.codes_in_comments():
            if code not in known:
                yield _at(SRN008, source, place, f"the comment names {code}, which is no code")


def _at(code: Code, source: Source, place: Place, message: str) -> Finding:
    """A finding about a text, whatever it is the text of."""
    return Finding(
        code=code.id,
        level=code.level,
        message=message,
        fix=code.fix,
        file=source.name,
        line=place.line,
        column=place.column,
    )


def names(world: World) -> Iterator[Finding]:
    """Objects that have no name, or one that another object has, too."""
    seen: dict[object, str] = {}
    for item in world.items:
        if not item.ref.name:
            if not (item.obj["metadata"].get("generateName") and item.ref.kind == "AnalysisRun"):
                yield SRN005.at(item, "metadata", "metadata.name is missing")
        elif item.ref in seen:
            message = f"metadata.name: {item.ref} stands in {seen[item.ref]}, too"
            yield SRN006.at(item, "metadata.name", message)
        else:
            place = item.document.place("metadata.name")
            seen[item.ref] = f"{item.source.name}:{place.line}"
