"""What the documents say is what the code does."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.events.decode import from_http
from agent.events.registry import TYPES, decode_data
from agent.lint.formats import page
from agent.settings import explain

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def test_the_page_of_settings_is_made_from_the_settings() -> None:
    made = "run `serinus settings explain > docs/settings.md`"
    assert (ROOT / "docs/settings.md").read_text() == explain(), made


def test_the_page_of_events_names_every_type_and_no_other() -> None:
    page = (ROOT / "docs/events.md").read_text()
    assert set(re.findall(r"^\| `(dev\.serinus\.[a-z.-]+\.v1)`", page, re.MULTILINE)) == set(TYPES)


def test_the_page_of_lint_explains_every_code_as_the_command_does() -> None:
    made = "run `python -c 'from agent.lint.formats import page; print(page(), end=\"\")'`"
    _, _, codes = (ROOT / "docs/lint.md").read_text().partition("## Codes\n\n")
    assert codes == page(), made


def test_the_events_shown_are_events() -> None:
    page = (ROOT / "docs/events.md").read_text()
    shown = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert shown
    for text in shown:
        (event,) = from_http([("content-type", "application/cloudevents+json")], text.encode())
        data = msgspec.to_builtins(decode_data(event))
        assert _is_within(msgspec.json.decode(event.data), data), "a field the type does not know"


def _is_within(shown: Any, read: Any) -> bool:
    """Whether everything shown was read; what is empty may be left out as a default."""
    if isinstance(shown, dict):
        return all(
            not value or (name in read and _is_within(value, read[name]))
            for name, value in shown.items()
        )
    return bool(shown == read)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
