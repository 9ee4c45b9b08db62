"""`python -m tests.fuzz.expressions --count N --seed S`: our interpreter beside the real expr-lang.

Prints every disagreement that docs/expressions.md does not list. Needs Go (or `--program`, built already).
"""

import argparse
import hashlib
import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from agent.analysis.expression import ExpressionError, evaluate, typed
from agent.analysis.expression.formats import float_text, rfc3339, shown
from agent.analysis.expression.kinds import Duration, Function, Table, go_type, readable
from agent.analysis.expression.values import Budget
from tests.fuzz.grammar import RESULTS, Grammar

PROGRAM: Final = Path(__file__).parents[1] / "e2e/bed/expr"
LISTED: Final = Path(__file__).parent / "expression_differences.json"
_SPECIAL: Final = {"NaN": math.nan, "+Inf": math.inf, "-Inf": -math.inf}
BATCH: Final = 5_000
SHORT: Final = 90


class Question(NamedTuple):
    expression: str
    type: str
    result: Any


class Answer(NamedTuple):
    """`value` in the form of the Go program, or the words of an error."""

    value: Any = None
    error: str = ""


class Disagreement(NamedTuple):
    question: Question
    ours: Answer
    theirs: Answer

    def __str__(self) -> str:
        return (
            f"{self.question.expression}\n"
            f"  result {self.question.type} {json.dumps(self.question.result)}\n"
            f"  ours   {_said(self.ours)}\n  theirs {_said(self.theirs)}"
        )


def _said(answer: Answer) -> str:
    return f"error: {answer.error}" if answer.error else json.dumps(answer.value)


def questions(count: int, seed: int, corpus: Sequence[str] = ()) -> list[Question]:
    """So many questions; the same seed asks the same ones."""
    random = Random(seed)
    grammar = Grammar(random, corpus)
    found = []
    for _ in range(count):
        kind, result = random.choice(RESULTS)
        found.append(Question(grammar.expression(result), kind, result))
    return found


def ours(question: Question) -> Answer:
    result = typed(_special(question.result, question.type), question.type)
    try:
        found, _ = evaluate(question.expression, result)
    except ExpressionError as error:
        return Answer(error=str(error) or "error")
    return Answer(canonical(found))


def theirs(program: Path, asked: Iterable[Question]) -> list[Answer]:
    """The answers of the Go program. Raises RuntimeError when it breaks."""
    lines = "".join(json.dumps(question._asdict()) + "\n" for question in asked)
    done = subprocess.run(
        [str(program)], input=lines, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{program} ended with {done.returncode}: {done.stderr[-2000:]}")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return [Answer(found.get("value"), found.get("error", "")) for found in answers]


def build(directory: Path | None = None) -> Path:
    """The Go program, built into a directory, or once for its sources into the user's cache."""
    if directory is None:
        sources = b"".join(file.read_bytes() for file in sorted(PROGRAM.iterdir()))
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        directory = cache / "serinus-bed" / f"expr-{hashlib.sha256(sources).hexdigest()[:16]}"
        directory.mkdir(parents=True, exist_ok=True)
    program = directory / "expr"
    if program.exists():
        return program
    subprocess.run(
        ["go", "build", "-trimpath", "-o", str(program), "."],
        cwd=PROGRAM,
        check=True,
        timeout=600,
    )
    return program


def _special(value: Any, kind: str) -> Any:
    if isinstance(value, list):
        return [_special(item, kind) for item in value]
    floats = kind in ("float", "floats", "optional-float")
    return _SPECIAL[value] if floats and isinstance(value, str) else value


def canonical(value: Any) -> Any:
    """A value as the Go program shows it: its type, and its text, items or pairs."""
    match value:
        case None:
            return ["nil", ""]
        case Function():
            return ["func", ""]
        case datetime():
            return [go_type(value), rfc3339(value)]
        case Duration() | tzinfo():
            return [go_type(value), shown(value, Budget())]
        case float():
            return [go_type(value), float_text(value)]
        case bytes():
            return [go_type(value), "".join(map(chr, value))]
        case list():
            return [go_type(value), [canonical(item) for item in value]]
        case dict() | Table():
            pairs = value.pairs() if isinstance(value, Table) else list(value.items())
            found = [[canonical(key), canonical(item)] for key, item in pairs]
            return [go_type(value), sorted(found, key=json.dumps)]
    return [go_type(value), readable(shown(value, Budget()))]


def _ordered(value: Any) -> Any:
    """The order of a map's pairs means nothing."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[1], list):
        items = [_ordered(item) for item in value[1]]
        if str(value[0]).startswith("map["):
            pairs = [[_ordered(key), _ordered(item)] for key, item in value[1]]
            return [value[0], sorted(pairs, key=json.dumps)]
        return [value[0], items]
    return value


def _alike(mine: Any, other: Any, *, powers: bool) -> bool:
    """Powers are computed by the C library here and by Go there: their last digits may differ."""
    if mine == other or not powers or not isinstance(mine, list) or len(mine) != len(other):
        return bool(mine == other)
    if mine[0] == other[0] == "float64":
        return math.isclose(float(mine[1]), float(other[1]), rel_tol=1e-13)
    return all(_alike(one, two, powers=True) for one, two in zip(mine, other, strict=True))


def disagreements(asked: Sequence[Question], answers: Sequence[Answer]) -> list[Disagreement]:
    """Where one side gives a value and the other an error, or another value."""
    found = []
    for question, answer in zip(asked, answers, strict=True):
        mine = ours(question)
        powers = bool(re.search(r"\*\*|\^", question.expression))
        alike = _alike(_ordered(mine.value), _ordered(answer.value), powers=powers)
        if bool(mine.error) != bool(answer.error) or not alike:
            found.append(Disagreement(question, mine, answer))
    return found


def listed(found: Disagreement, differences: Sequence[dict[str, Any]]) -> str:
    """The id of the listed difference that explains a disagreement, or ""."""
    sides = {
        "expression": found.question.expression,
        "ours": _said(found.ours),
        "theirs": _said(found.theirs),
    }
    for difference in differences:
        if all(re.search(pattern, sides[side]) for side, pattern in difference["where"].items()):
            return str(difference["id"])
    return ""


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    program = options.program or build()
    differences = json.loads(LISTED.read_text())["differences"]
    corpus = _corpus(options.vectors)
    if options.write:
        return _write(options.write, program, options.count, options.seed)
    counts: Counter[str] = Counter()
    shown_ones = 0
    for start in range(0, options.count, BATCH):
        size = min(BATCH, options.count - start)
        asked = questions(size, options.seed * 1_000_003 + start, corpus)
        answers = theirs(program, asked)
        counts["errors"] += sum(bool(answer.error) for answer in answers)
        for found in disagreements(asked, answers):
            reason = listed(found, differences)
            counts[f"listed: {reason}" if reason else "unlisted"] += 1
            if not reason and shown_ones < options.show:
                shown_ones += 1
                print(found)
    print(
        f"{options.count} expressions, seed {options.seed}, {counts['errors']} are errors of theirs"
    )
    for name, number in sorted(counts.items()):
        if name != "errors":
            print(f"  {name}: {number}")
    return 1 if counts["unlisted"] else 0


def _write(file: Path, program: Path, count: int, seed: int) -> int:
    """Answers of the real language, for tests that have no Go: all kinds of errors, and as many values."""
    asked = [found for found in questions(count * 40, seed) if len(found.expression) < SHORT]
    answers = list(zip(asked, theirs(program, asked), strict=True))
    good = [(question, answer) for question, answer in answers if ours(question) == answer]
    kinds = {_words(answer.error): (question, answer) for question, answer in good if answer.error}
    values = {q.expression: (q, answer) for q, answer in good if not answer.error}
    kept = [*list(values.values())[:count], *list(kinds.values())[: count // 2]]
    lines = [json.dumps([*question, *answer], ensure_ascii=False) for question, answer in kept]
    file.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{len(kept)} questions with their answers are in {file}")
    return 0


def _words(error: str) -> str:
    """The words of an error without what is particular to one expression."""
    return re.sub(r"[^a-z ]+", "", error)[:40]


def _corpus(places: Sequence[Path]) -> list[str]:
    """The expressions of conformance vectors, to mutate."""
    found = []
    for place in places:
        for case in json.loads((place / "expressions.json").read_text())["cases"]:
            given = case["given"]
            names = ("successCondition", "failureCondition", "expression")
            found += [given[name] for name in names if given.get(name)]
    return [text for text in found if "now()" not in text]


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.expressions", description="Compare with the real expr-lang."
    )
    parser.add_argument("--count", type=int, default=2_000, help="expressions (default 2000)")
    parser.add_argument("--seed", type=int, default=1, help="seed (default 1)")
    parser.add_argument("--show", type=int, default=20, help="disagreements to print (default 20)")
    parser.add_argument("--program", type=Path, help="the Go program, if it is built already")
    parser.add_argument(
        "--write", type=Path, help="write short questions and their answers to this file instead"
    )
    parser.add_argument(
        "--vectors", type=Path, action="append", default=[], help="vectors to mutate"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
