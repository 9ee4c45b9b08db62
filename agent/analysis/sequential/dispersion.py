"""How much bad requests come in bursts, from counts of the time before the rollout. PURE.

Retries, one user's broken session, one dead connection: bad requests that come together are fewer pieces of
evidence than they are requests. Between two neighbouring intervals, K bad requests fall into the first with
probability n1/(n1+n2), whatever their common rate is; how much more than binomially they scatter is the
dispersion. Neighbours are compared, so that a rate that drifts is not taken for bursts.
"""

from collections.abc import Sequence
from typing import Final

ENOUGH_BAD: Final = 20.0
ENOUGH_PAIRS: Final = 8
MOST: Final = 1000.0


def dispersion(counts: Sequence[tuple[float, float]]) -> float | None:
    """The dispersion of (requests, bad requests) per interval, at least 1; None when there are too few.

    For independent bursts of size S it is E[S²]/E[S]. An interval without requests stands for one that is not known.
    """
    scatter, bad, pairs = 0.0, 0.0, 0
    for (n1, k1), (n2, k2) in zip(counts[::2], counts[1::2], strict=False):
        both = k1 + k2
        if n1 <= 0 or n2 <= 0 or both <= 0:
            continue
        share = n1 / (n1 + n2)
        scatter += (k1 - share * both) ** 2 / (share * (1.0 - share))
        bad += both
        pairs += 1
    if bad < ENOUGH_BAD or pairs < ENOUGH_PAIRS:
        return None
    return min(MOST, max(1.0, scatter / bad))
