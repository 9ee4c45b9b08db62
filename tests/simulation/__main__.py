"""Long simulation: `python -m tests.simulation --seeds 2000 [--start 0]`, or `--only SEED` to replay one."""

import argparse
import logging
import random
import sys
import time
import traceback
from collections import Counter
from typing import Final

import structlog

from agent.engine.crash_points import CRASH_POINTS
from tests.simulation.scenario import STORMY, Result, aborted, eventful, straight
from tests.simulation.virtual import run
from tests.simulation.world import World

GATEWAY: Final = 0.4
"""Share of the seeds on routes of Gateway API, whose status must confirm each weight."""


def play(seed: int) -> Result:
    """The run of a seed: mostly eventful ones, some that must get through, whatever dies."""
    kind = seed % 5
    is_gateway = random.Random(f"gateway {seed}").random() < GATEWAY
    route_kind = "HTTPRoute" if is_gateway else "VirtualService"
    if kind > 1:
        return run(eventful(seed, route_kind=route_kind))
    rng = random.Random(seed)
    points = [(rng.choice(list(CRASH_POINTS)), rng.randint(1, 3)) for _ in range(3)]
    scenario = straight if kind == 0 else aborted
    return run(scenario(seed, crash_at=points, weather=STORMY, route_kind=route_kind))


def main() -> int:
    """Play seeds; how many of them broke an invariant or did not settle (at most 1, as exit status)."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first one")
    parser.add_argument("--only", type=int, help="replay this one, with logs")
    options = parser.parse_args()
    verbose = options.only is not None
    level = logging.DEBUG if verbose else logging.CRITICAL
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    World.is_verbose = verbose
    start = options.only if verbose else options.start
    failed, crashes, reached, began = 0, 0, Counter[str](), time.perf_counter()
    for seed in range(start, start + (1 if verbose else options.seeds)):
        try:
            result = play(seed)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other seeds are played, too
            failed += 1
            print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
            if verbose:
                traceback.print_exc()
            continue
        crashes += result.crashes
        reached.update(result.reached)
        if result.violations:
            failed += 1
            print(f"seed {seed}:", *result.violations[:5], sep="\n  ", flush=True)
    played = 1 if verbose else options.seeds
    print(f"{played} runs, {crashes} deaths, {failed} failed, {time.perf_counter() - began:.1f} s")
    never = sorted(set(CRASH_POINTS) - set(reached))
    print("points never reached:", ", ".join(never) or "none")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
