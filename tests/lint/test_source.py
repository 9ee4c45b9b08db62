"""Texts: where fields stand, what comments let pass, and what is too much."""

import pytest

from agent.lint.source import MAX_BYTES, MAX_NODES, Place, read
from tests.lint.manifests import codes_in, findings_in, put, shop, spoilt, text_of

TEXT = """\
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata:
  name: web
  annotations: {serinus.dev/abort-on: severity}
spec:
  strategy:
    canary:
      steps:
      - setWeight: 10
      - pause: {duration: 1m}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: a}
"""


@pytest.mark.parametrize(
    ("document", "field", "place"),
    [
        (0, "", (1, 1)),
        (0, "metadata.name", (4, 3)),
        (0, "metadata.annotations[serinus.dev/abort-on]", (5, 17)),
        (0, 'metadata.annotations["serinus.dev/abort-on"]', (5, 17)),
        (0, "spec.strategy.canary.steps[1].pause.duration", (11, 17)),
        (0, "spec.strategy.steps[0].setWeight", (10, 9)),
        (0, "spec.strategy.canary.steps[9]", (9, 7)),
        (0, "spec.replicas", (6, 1)),
        (1, "metadata.name", (18, 14)),
        (1, "spec.selector", (16, 3)),
    ],
    ids=[
        "the whole", "a key", "a key with dots", "a key in quotes", "an item of a list", "a path without the strategy's name",
        "an item that is not there", "a field that is not written", "an item of a List", "nothing of it",
    ],
)  # fmt: skip
def test_a_field_knows_its_line(document: int, field: str, place: tuple[int, int]) -> None:
    assert read(TEXT, "a").documents[document].place(field) == Place(*place)


def test_documents_before_a_broken_one_are_read() -> None:
    found = read(f"{TEXT}---\na: [1,\n b\n", "a")
    assert (len(found.documents), [one.kind for one in found.troubles]) == (2, ["yaml"])
    assert found.troubles[0].place.line > 18


def test_values_are_those_of_json() -> None:
    (found,) = read("a: 2026-01-01\n1: {true: b}\nc: !!binary aGk=\n", "a").documents
    assert found.obj == {"a": "2026-01-01", "1": {"true": "b"}, "c": "b'hi'"}


def test_json_may_be_indented_with_tabs() -> None:
    (found,) = read('{\n\t"kind": "Rollout",\n\t"a": "b"\n}', "a").documents
    assert (found.obj, found.place("a")) == ({"kind": "Rollout", "a": "b"}, Place(3, 2))


@pytest.mark.parametrize(
    "text",
    [
        "x" * (MAX_BYTES + 1),
        "[" * 100_000,
        "a: " + "[" * 100_000 + "]" * 100_000,
        "\n".join(" " * depth + "a:" for depth in range(200)),
        "[" + "1, " * (MAX_NODES + 1) + "1]",
        "a: &a {b: *a}",
    ],
    ids=["long", "deep and open", "deep", "deep by indents", "wide", "endless"],
)
def test_what_is_too_much_is_one_finding(text: str) -> None:
    found = read(text, "a")
    assert (len(found.troubles), found.documents) == (1, ())


@pytest.mark.parametrize(
    "text",
    ["", "---\n---\n", "\ufeff", "\x00", "a: !python/object:os.system x", "&", "a: *b", "? [a]\n: b", "<<: 1"],
)  # fmt: skip
def test_no_text_is_an_exception(text: str) -> None:
    findings_in(text)


def test_a_comment_lets_a_code_pass_at_its_line_or_the_next() -> None:
    text = spoilt(put("rollout", "spec.strategy.canary.steps.1.pause", {}))
    assert codes_in(text) == ["SRN104"]
    line = "      - pause: {}\n"
    assert line in text
    for passing in (
        line.replace("\n", "  # serinus-lint: ignore=SRN104\n"),
        f"      # people decide. serinus-lint is asked to pass\n      # serinus-lint: ignore=SRN103,SRN104\n\n{line}",
    ):
        assert codes_in(text.replace(line, passing)) == [], passing
    for counted in (
        line.replace("\n", "  # serinus-lint: ignore=SRN103\n"),
        f"{line}      # serinus-lint: ignore=SRN104\n",
        line.replace("\n", " #serinus-lint ignore=SRN104\n"),
    ):
        assert codes_in(text.replace(line, counted)) == ["SRN104"], counted


def test_a_comment_at_the_head_counts_for_its_document() -> None:
    text = spoilt(put("rollout", "spec.strategy.canary.steps.1.pause", {}))
    head = "# Owned by the shop.\n# serinus-lint: ignore=SRN104\n"
    first = "---\napiVersion: argoproj.io/v1alpha1\nkind: Rollout\n"
    assert text.startswith(first)
    assert codes_in(text.replace(first, first.replace("---\n", f"---\n{head}"))) == []
    assert (
        codes_in(text_of({**shop(), "z": f"---\n{head}apiVersion: v1\nkind: Other\n"}) + text) != []
    )


def test_files_are_looked_at_together() -> None:
    objects = shop()
    route = objects.pop("route")
    assert codes_in(text_of(objects)) == ["SRN007"]
    assert codes_in(text_of(objects), text_of({"route": route})) == []


def test_codes_can_be_passed_over() -> None:
    text = spoilt(put("rollout", "spec.strategy.canary.steps.1.pause", {}))
    assert findings_in(text, ignore=frozenset({"SRN104"})) == ()
