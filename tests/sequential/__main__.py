"""How often the judge fails a canary that is not worse, and how soon it sees one that is.

Examples:
    python -m tests.sequential                          every cell, 4000 runs each (several minutes)
    python -m tests.sequential --cells null --runs 400  the false-rollback rates, quickly
"""

import argparse
import sys
import time

from tests.sequential.cells import CELLS


def main() -> int:
    """Print the tables; 1 when a gated cell misses its mark."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.sequential",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--cells", default=",".join(CELLS), help=f"of {', '.join(CELLS)}, with commas between"
    )
    parser.add_argument("--runs", type=int, default=4000, help="of each null cell; others a tenth")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    names = options.cells.split(",")
    unknown = [name for name in names if name not in CELLS]
    if unknown:
        parser.error(f"unknown cells {', '.join(unknown)}: there are {', '.join(CELLS)}")
    missed, began = [], time.perf_counter()
    for name in names:
        missed += CELLS[name](options.runs, options.seed)
    print(f"{time.perf_counter() - began:.0f} s; missed: {'; '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
