"""Reading vector files: `{"suite": …, "about": …, "cases": [{"id", "given", "expect", "note"?}]}`."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple


class Unsupported(Exception):
    """Raised by a suite's runner: this case asks for something that is not built."""


class MalformedFile(Exception):
    """A vector file that cannot be read as one."""


class Case(NamedTuple):
    suite: str
    id: str
    given: dict[str, Any]
    expect: dict[str, Any]


def find_files(places: Iterable[Path]) -> list[Path]:
    """Vector files in the directories (not below them), or given directly, sorted within each place."""
    return [
        file
        for place in places
        for file in ([place] if place.is_file() else sorted(place.glob("*.json")))
    ]


def read_file(path: Path) -> list[Case]:
    """The cases of one file. Raises MalformedFile with the reason."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        suite = str(content["suite"])
        return [Case(suite, case["id"], case["given"], case["expect"]) for case in content["cases"]]
    except (OSError, ValueError) as error:
        raise MalformedFile(f"{path}: {error}") from error
    except (KeyError, TypeError) as error:
        raise MalformedFile(f"{path}: not a vector file ({error!r})") from error
