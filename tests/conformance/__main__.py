"""`python -m tests.conformance DIR [DIR...] [--suite NAME] [--show N] [--case ID] [--compat argo|safe]`.

Exit codes: 0 all supported cases pass; 1 a case failed, a file could not be read, or nothing was found.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.conformance.cases import Case, MalformedFile, find_files, read_file
from tests.conformance.compat import COMPAT, expected_in_safe, listed, no_longer_different
from tests.conformance.runner import run_cases


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    cases: list[Case] = []
    problems: list[str] = [
        f"{place}: no such file or directory" for place in options.places if not place.exists()
    ]
    for file in find_files(options.places):
        try:
            cases += read_file(file)
        except MalformedFile as error:
            problems.append(str(error))
    chosen = [
        case
        for case in cases
        if (not options.suite or case.suite in options.suite)
        and (not options.case or case.id in options.case)
    ]
    if not chosen:
        problems.append("no case found: an empty run proves nothing")
    if options.compat == "safe":
        COMPAT.set("safe")
        problems += no_longer_different(chosen, listed())
        chosen = expected_in_safe(chosen, listed())
    tallies = run_cases(chosen)
    for suite, tally in tallies.items():
        print(tally.line(suite))
        for case_id, differences in tally.failures[: options.show]:
            print(f"  {case_id}")
            for difference in differences:
                print(f"    {difference}")
    for problem in problems:
        print(problem, file=sys.stderr)
    failed = sum(len(tally.failures) for tally in tallies.values())
    passed = sum(tally.passed for tally in tallies.values())
    skipped = sum(tally.unsupported for tally in tallies.values())
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or problems else 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance", description="Run the conformance vectors."
    )
    parser.add_argument("places", nargs="+", type=Path, metavar="DIR", help="where vectors lie")
    parser.add_argument("--suite", action="append", metavar="NAME", help="only this suite")
    parser.add_argument("--case", action="append", metavar="ID", help="only the case of this id")
    parser.add_argument(
        "--show", type=int, default=3, metavar="N", help="failed cases to show a suite (default 3)"
    )
    parser.add_argument(
        "--compat",
        choices=("argo", "safe"),
        default="argo",
        help="verdicts as Argo's (default), or as safe.json lists them",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
