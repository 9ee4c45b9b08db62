"""How a run is shown while it goes on: a live table on a terminal, lines or JSON elsewhere."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

import typer

from agent.analysis.verdict import last_measurement
from agent.api.analysis import AnalysisRun, Metric
from agent.cli.analyze_text import (
    COLOURS,
    Made,
    Told,
    counters,
    evidence,
    heading,
    line,
    measurement_json,
    verdict_json,
    verdict_line,
    verdict_of,
)

_SHOWN = 8
"""Measurements below the table."""


class View(Protocol):
    """Shows a run; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def show(self, run: AnalysisRun) -> None:
        """The run has changed."""
        ...

    def end(self, run: AnalysisRun) -> None:
        """The run is over."""
        ...


class Lines:
    """One line a measurement; `as_json`: one JSON object a line."""

    def __init__(self, metrics: Mapping[str, Metric], *, as_json: bool) -> None:
        self._metrics = metrics
        self._as_json = as_json
        self._told = Told()

    def __enter__(self) -> Self:
        if not self._as_json:
            for metric in self._metrics.values():
                typer.echo("\n".join(heading(metric)))
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, run: AnalysisRun) -> None:
        for made in self._told.new(run):
            metric = self._metrics[made.result.name]
            typer.echo(measurement_json(metric, made) if self._as_json else line(metric, made))

    def end(self, run: AnalysisRun) -> None:
        self.show(run)
        typer.echo(verdict_json(run) if self._as_json else verdict_line(run))


class Table:
    """A table that is drawn anew with every change; the last one stays."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        from rich.console import Console
        from rich.live import Live

        self._metrics = metrics
        self._told = Told()
        self._lines: list[Made] = []
        self._run: AnalysisRun | None = None
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, get_renderable=self._drawn, refresh_per_second=4)

    def __enter__(self) -> Self:
        from rich.markup import escape

        for metric in self._metrics.values():
            first, *rest = heading(metric)
            self._console.print(f"[bold]{escape(first)}[/bold]")
            for text in rest:
                self._console.print(escape(text), style="dim")
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, run: AnalysisRun) -> None:
        self._run = run
        self._lines = [*self._lines, *self._told.new(run)][-_SHOWN:]
        self._live.refresh()

    def end(self, run: AnalysisRun) -> None:
        self.show(run)

    def _drawn(self) -> Any:
        from rich.console import Group
        from rich.table import Table as Grid
        from rich.text import Text

        grid = Grid(box=None, pad_edge=False, header_style="dim")
        for title in ("METRIC", "PHASE", "VALUE", "VERDICT", "COUNTERS"):
            grid.add_column(title, overflow="fold")
        results = {
            result.name: result
            for result in (self._run.status.metric_results if self._run else ()) or ()
        }
        for name, metric in self._metrics.items():
            result = results.get(name)
            last = last_measurement(result) if result else None
            phase = (result.phase if result else "") or "Pending"
            grid.add_row(
                name + (" (dry run)" if result and result.dry_run else ""),
                Text(phase, style=COLOURS.get(phase, "")),
                Text(last.value if last else ""),
                Text((evidence(last) or verdict_of(metric, last)) if last else ""),
                Text(counters(metric, result) if result else ""),
            )
        lines = [
            Text(
                line(self._metrics[made.result.name], made),
                style="dim",
                no_wrap=True,
                overflow="ellipsis",
            )
            for made in self._lines
        ]
        phase = (self._run.status.phase if self._run else "") or "Pending"
        verdict = Text(
            verdict_line(self._run) if self._run else phase, style=f"bold {COLOURS.get(phase, '')}"
        )
        return Group("", grid, "", *lines, "", verdict)
