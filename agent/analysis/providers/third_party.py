"""Metric providers of third parties, found by the entry point `serinus.metric_providers` (docs/providers.md).

They are not ours, so each is loaded and asked in a thread that nobody waits for at the end: one that raises, hangs,
blocks or answers nonsense costs its own metrics an error with its name, and nobody else anything.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import structlog

from agent.analysis.providers.port import Asked, failed
from agent.api.analysis import Measurement, Metric
from agent.api.names import SEQUENTIAL
from agent.errors import Refused

log = structlog.get_logger(__name__)

GROUP: Final = "serinus.metric_providers"
LOAD_SECONDS: Final = 10.0
"""For all of them together: importing one must not keep the agent from starting."""
MEASURE_SECONDS: Final = 30.0
MOST_AT_ONCE: Final = 16
"""Measurements of one provider. Those that hang count until they end."""
_TEXT: Final = 300


class ThirdParty:
    """A provider of a third party, as one of ours.

    Attributes:
        name: of the entry point, and of the plugin in manifests.
        problem: why it cannot be used; "" when it can.
    """

    def __init__(self, name: str, provider: Any, problem: str = "") -> None:
        self.name = name
        self.problem = problem
        self._provider = provider
        self._places = asyncio.Semaphore(MOST_AT_ONCE)

    def check(self, metric: Metric) -> None:
        """Its own check, within a deadline."""
        self._usable()
        box = _Box()
        box.start(lambda: self._provider.check(metric), f"check of {self.name}")
        box.thread.join(LOAD_SECONDS)
        if box.thread.is_alive():
            raise Refused(f"provider {self.name} did not check the metric in {LOAD_SECONDS:g} s")
        if isinstance(box.error, Refused):
            raise box.error
        if box.error is not None:
            raise Refused(f"provider {self.name} failed: {_text(box.error)}")

    async def measure(self, asked: Asked) -> Measurement:
        """Its own measurement, on an event loop of its own, within a deadline."""
        self._usable()
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        try:
            async with asyncio.timeout(MEASURE_SECONDS):
                await self._places.acquire()
                box = _Box()
                box.start(
                    lambda: asyncio.run(self._provider.measure(asked)),
                    f"measurement of {self.name}",
                    lambda: _call(loop, self._ended, ended),
                )
                await ended
        except TimeoutError:
            hang = f"; {MOST_AT_ONCE} of its measurements hang" if self._places.locked() else ""
            return failed(f"provider {self.name} did not answer within {MEASURE_SECONDS:g} s{hang}")
        if isinstance(box.error, Refused):
            raise box.error
        if box.error is not None:
            log.warning("provider.failed", provider=self.name, error=_text(box.error))
            return failed(f"provider {self.name} failed: {_text(box.error)}")
        made: Measurement = box.result
        return made

    def _ended(self, ended: "asyncio.Future[None]") -> None:
        self._places.release()
        if not ended.done():
            ended.set_result(None)

    def _usable(self) -> None:
        if self.problem:
            raise Refused(f"provider {self.name} cannot be used: {self.problem}")


class _Box:
    """What a thread of somebody else's code came to."""

    def __init__(self) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self.thread = threading.Thread()

    def start(
        self, work: Callable[[], Any], name: str, ended: Callable[[], None] = lambda: None
    ) -> None:
        def run() -> None:
            try:
                self.result = work()
            except BaseException as error:  # noqa: BLE001 - SystemExit, too, ends only this thread
                self.error = error
            ended()

        self.thread = threading.Thread(target=run, name=name, daemon=True)
        self.thread.start()


def load(found: Iterable[EntryPoint] | None = None) -> list[ThirdParty]:
    """The installed providers, in the order of their names, those that cannot be used among them.

    An entry point's name is that of the plugin (`vendor/name`); it leads to what makes a provider when it is
    called without arguments, such as its class.
    """
    by_name: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP) if found is None else found:
        by_name.setdefault(point.name, []).append(point)
    boxes = {name: _Box() for name in sorted(by_name)}
    for name, box in boxes.items():
        box.start(partial(_made, by_name[name][0]), f"load {name}")
    deadline = time.monotonic() + LOAD_SECONDS
    for box in boxes.values():
        box.thread.join(max(0.0, deadline - time.monotonic()))
    made = []
    for name, box in boxes.items():
        problem = _problem(name, by_name[name], box)
        if problem:
            log.warning("provider.unusable", provider=name, reason=problem)
        made.append(ThirdParty(name, None if problem else box.result, problem))
    return made


def _made(point: EntryPoint) -> Any:
    return point.load()()


def _problem(name: str, points: list[EntryPoint], box: _Box) -> str:
    if "/" not in name or name == SEQUENTIAL:
        return f"the entry point must be named vendor/name, and not {SEQUENTIAL}"
    if len(points) > 1:
        return f"{len(points)} installed packages have an entry point of that name"
    if box.thread.is_alive():
        return f"{points[0].value} did not load within {LOAD_SECONDS:g} s"
    if box.error is not None:
        return f"{points[0].value} did not load: {_text(box.error)}"
    if not all(callable(getattr(box.result, method, None)) for method in ("check", "measure")):
        return f"{points[0].value} gave no provider: it has no check and measure"
    return ""


def _call(loop: asyncio.AbstractEventLoop, then: Callable[..., None], *args: Any) -> None:
    """From another thread; an agent that has ended since is not called."""
    try:
        loop.call_soon_threadsafe(then, *args)
    except RuntimeError:
        return


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:_TEXT]
