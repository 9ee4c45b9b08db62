"""What the judge remembers between two looks, and its form in an AnalysisRun. PURE."""

from typing import Final

import msgspec

from agent.analysis.sequential.grid import Grid
from agent.analysis.sequential.likelihood import Comparison, merge
from agent.errors import Refused

VERSION: Final = 1
_DIGITS: Final = 9


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the strata so far. Times are Unix seconds.

    Attributes:
        first: of the first look.
        grid: of the strata; None until scrapes have been seen.
        since: end of the last stratum that counts; what is older was counted, or will never be.
        looks: how many there were; those that found no data do not count.
        canary_requests, stable_requests: totals.
        comparisons: one for every kind of bad request (bad ones, or slower than an edge).
        dispersion: of the bad requests, from settings or from the time before the run.
        seen_canary, seen_stable: whether the arm ever had a series.
    """

    first: float
    grid: Grid | None = None
    since: float = 0.0
    looks: int = 0
    canary_requests: float = 0.0
    stable_requests: float = 0.0
    comparisons: tuple[Comparison, ...] = ()
    dispersion: float = 1.0
    seen_canary: bool = False
    seen_stable: bool = False


class _Wire(msgspec.Struct, frozen=True, omit_defaults=True):
    """One letter a field: it travels with every write of the AnalysisRun."""

    v: int
    f: float
    g: tuple[float, float] | None = None
    t: float = 0.0
    l: int = 0  # noqa: E741 - a letter on the wire, read only below
    n: tuple[float, float] = (0.0, 0.0)
    c: tuple[tuple[float, ...], ...] = ()
    d: float = 1.0
    s: tuple[bool, bool] = (False, False)


def encode(state: State) -> str:
    """Compact JSON with a version; nine decimals, which is far below what decides."""
    comparisons = tuple(
        tuple(
            round(value, _DIGITS)
            for value in (
                c.canary_bad,
                c.stable_bad,
                c.canary_weighed,
                c.stable_weighed,
                *c.sums,
            )
        )
        for c in state.comparisons
    )
    wire = _Wire(
        v=VERSION,
        f=state.first,
        g=(state.grid.width, state.grid.offset) if state.grid else None,
        t=state.since,
        l=state.looks,
        n=(state.canary_requests, state.stable_requests),
        c=comparisons,
        d=state.dispersion,
        s=(state.seen_canary, state.seen_stable),
    )
    return msgspec.json.encode(wire).decode()


def decode(text: str, *, comparisons: int, points: int) -> State:
    """The state from its text. Raises Refused when it is none, or one of other settings or another version."""
    try:
        wire = msgspec.json.decode(text, type=_Wire)
    except msgspec.MsgspecError as error:
        raise Refused(f"the judge's state is unreadable: {error}") from error
    if wire.v != VERSION:
        raise Refused(f"the judge's state has version {wire.v}; this is version {VERSION}")
    if len(wire.c) != comparisons or any(len(row) != 4 + points for row in wire.c):
        raise Refused("the judge's state was made with other settings")
    return State(
        first=wire.f,
        grid=Grid(*wire.g) if wire.g else None,
        since=wire.t,
        looks=wire.l,
        canary_requests=wire.n[0],
        stable_requests=wire.n[1],
        comparisons=tuple(
            Comparison(
                canary_bad=row[0],
                stable_bad=row[1],
                canary_weighed=row[2],
                stable_weighed=row[3],
                sums=row[4:],
            )
            for row in wire.c
        ),
        dispersion=wire.d,
        seen_canary=wire.s[0],
        seen_stable=wire.s[1],
    )


def merged(one: State, other: State) -> State:
    """What is known from two judges of the same settings that saw different strata."""
    return State(
        first=min(one.first, other.first),
        grid=one.grid or other.grid,
        since=max(one.since, other.since),
        looks=one.looks + other.looks,
        canary_requests=one.canary_requests + other.canary_requests,
        stable_requests=one.stable_requests + other.stable_requests,
        comparisons=tuple(
            merge(a, b) for a, b in zip(one.comparisons, other.comparisons, strict=True)
        ),
        dispersion=max(one.dispersion, other.dispersion),
        seen_canary=one.seen_canary or other.seen_canary,
        seen_stable=one.seen_stable or other.seen_stable,
    )
