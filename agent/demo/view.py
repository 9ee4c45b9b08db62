"""What the demo shows: a live table on a terminal, plain lines anywhere else."""

import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol, TextIO

import msgspec

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

LINES = 14
REFRESH_PER_SECOND = 8
BAR = 40


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """The state at one moment.

    Attributes:
        weight: the canary's share in the proxy, in percent.
        why: what the rollout waits for.
        step: the step it is at, in words.
        analysis: the newest measurement of its newest analysis, in words.
        answers: version -> (calls, calls answered with 5xx).
        failed_by_switch: calls that no version failed.
    """

    act: str
    phase: str
    weight: int
    why: str = ""
    step: str = ""
    analysis: str = ""
    answers: Mapping[str, tuple[int, int]] = {}
    failed_by_switch: int = 0


class View(Protocol):
    def say(self, line: str) -> None:
        """Tell something that stays."""
        ...

    def show(self, frame: Frame) -> None:
        """The newest state; may be called many times a second."""
        ...


@contextlib.contextmanager
def open_view(
    monotonic: Callable[[], float], stream: TextIO | None = None, *, plain: bool = False
) -> Iterator[View]:
    """A live view when `stream` (standard output) is a terminal and rich is installed, else lines."""
    out = sys.stdout if stream is None else stream
    live = None if plain or not out.isatty() else _live(out)
    if live is None:
        yield PlainView(monotonic, out)
        return
    with live:
        yield LiveView(monotonic, live)


class PlainView:
    """One line for each thing said, and one when the phase, the weight or the reason changed."""

    def __init__(self, monotonic: Callable[[], float], stream: TextIO) -> None:
        self._monotonic = monotonic
        self._start = monotonic()
        self._stream = stream
        self._last: tuple[str, str, int, str] | None = None
        self._measured = ""

    def say(self, line: str) -> None:
        print(f"{self._monotonic() - self._start:6.1f}s  {line}", file=self._stream, flush=True)

    def show(self, frame: Frame) -> None:
        key = (frame.act, frame.phase, frame.weight, frame.why)
        if key != self._last:
            self._last = key
            why = f": {frame.why}" if frame.why else ""
            self.say(f"{frame.phase}, canary {frame.weight} %{why}")
        if frame.analysis and frame.analysis != self._measured:
            self._measured = frame.analysis
            self.say(f"analysis {frame.analysis}")


class LiveView:
    """A table of the state that is redrawn, with the last lines below it."""

    def __init__(self, monotonic: Callable[[], float], live: "Live") -> None:
        self._monotonic = monotonic
        self._start = monotonic()
        self._live = live
        self._lines: deque[str] = deque(maxlen=LINES)
        self._frame: Frame | None = None

    def say(self, line: str) -> None:
        self._lines.append(f"{self._monotonic() - self._start:6.1f}s  {line}")
        self._draw()

    def show(self, frame: Frame) -> None:
        self._frame = frame
        self._draw()

    def _draw(self) -> None:
        self._live.update(_drawing(self._frame, tuple(self._lines)))


def _live(out: TextIO) -> "Live | None":
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        return None
    return Live(console=Console(file=out), refresh_per_second=REFRESH_PER_SECOND)


def _drawing(frame: Frame | None, lines: tuple[str, ...]) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    said = Text("\n".join(lines))
    if frame is None:
        return said
    table = Table.grid(padding=(0, 2))
    filled = round(BAR * frame.weight / 100)
    bar = Text.assemble(("█" * filled, "yellow"), ("░" * (BAR - filled), "green"))
    table.add_row("act", Text(frame.act))
    table.add_row("phase", Text(frame.phase))
    table.add_row("canary", Text.assemble(bar, f" {frame.weight} %"))
    table.add_row("step", Text(frame.step))
    table.add_row("waits for", Text(frame.why))
    table.add_row("analysis", Text(frame.analysis))
    for version, (calls, failed) in sorted(frame.answers.items()):
        failures = Text(f"{failed} failed", style="red" if failed else "green")
        table.add_row(version, Text.assemble(f"{calls} calls  ", failures))
    style = "bold red" if frame.failed_by_switch else "green"
    table.add_row("failed by the switch", Text(str(frame.failed_by_switch), style=style))
    return Group(table, Text(), said)
