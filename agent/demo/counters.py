"""For a machine without Prometheus and Alertmanager: the proxy's own counters, and one rule on them.

`counting` samples Envoy's counters and serves the success ratio of a window as JSON, for an
AnalysisTemplate with the web provider. `watching` posts a webhook of Alertmanager's shape when the canary
fails. Both see what Prometheus would scrape; they are fewer parts, not other numbers.
"""

import asyncio
import contextlib
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any

import httpx
import msgspec

from agent.api.times import format_time_ms
from agent.clock import Clock
from agent.demo.envoy import Envoy
from agent.demo.loopback import Answer, Request, serving
from agent.demo.prometheus import ALERT
from agent.errors import Unavailable

SAMPLE_SECONDS = 0.25
RULE_SECONDS = 0.5
POST_SECONDS = 5.0
MIN_CALLS = 10
"""Fewer calls in the window say nothing."""
_NEVER = "0001-01-01T00:00:00Z"
Sample = Mapping[tuple[str, bool], int]
"""(subset, failed with 5xx) -> calls since the proxy started."""


class Window:
    """Calls inside the last `seconds`, from samples of growing counters."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._samples: deque[tuple[float, Sample]] = deque()

    def add(self, at: float, sample: Sample) -> None:
        """Keep the newest sample that is older than the window: the difference to it is the window."""
        self._samples.append((at, sample))
        while len(self._samples) > 2 and self._samples[1][0] <= at - self._seconds:
            self._samples.popleft()

    def calls(self, subset: str = "") -> tuple[int, int]:
        """(calls, failed) of a subset, "" for all."""
        if not self._samples:
            return 0, 0
        first, last = self._samples[0][1], self._samples[-1][1]
        total = failed = 0
        for (name, bad), count in last.items():
            if subset in ("", name):
                grown = count - first.get((name, bad), 0)
                total += grown
                failed += grown if bad else 0
        return total, failed

    def success_ratio(self, subset: str = "") -> float | None:
        """None with too few calls: no data is not good news."""
        total, failed = self.calls(subset)
        return None if total < MIN_CALLS else 1 - failed / total


class Counters:
    """Made by `counting`. `url` answers `{"result": [ratio]}`, an empty list without enough calls."""

    def __init__(self, window: Window, url: str) -> None:
        self.window = window
        self.url = url


@contextlib.asynccontextmanager
async def counting(envoy: Envoy, clock: Clock, *, seconds: float) -> AsyncIterator[Counters]:
    """Sample the proxy and serve the ratio while the context is open."""
    window = Window(seconds)

    def answer(_request: Request) -> Answer:
        ratio = window.success_ratio()
        body = msgspec.json.encode({"result": [] if ratio is None else [ratio]})
        return Answer(body=body, content_type="application/json")

    async def sample() -> None:
        while True:
            with contextlib.suppress(Unavailable):
                window.add(clock.monotonic(), totals(await envoy.requests()))
            await clock.sleep(SAMPLE_SECONDS)

    async with serving(answer) as (host, port), _owned(sample, "counters"):
        yield Counters(window, f"http://{host}:{port}/ratio")


def totals(requests: list[tuple[dict[str, str], int]]) -> Sample:
    """Calls by subset and outcome from the proxy's labelled counters."""
    found: dict[tuple[str, bool], int] = {}
    for labels, count in requests:
        key = (
            labels.get("destination_subset", ""),
            labels.get("response_code", "").startswith("5"),
        )
        found[key] = found.get(key, 0) + count
    return found


class Rule(msgspec.Struct, frozen=True):
    """Fires while the canary's share of 5xx is above `threshold`. `rollout` is `namespace/name`."""

    rollout: str
    threshold: float = 0.05
    subset: str = "canary"


@contextlib.asynccontextmanager
async def watching(
    counters: Counters, clock: Clock, rule: Rule, *, webhook_url: str, token: str
) -> AsyncIterator[None]:
    """Evaluate the rule and post what changes, as Alertmanager would, while the context is open.

    A webhook that was not accepted (2xx) is posted again at the next evaluation.
    """
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}

    async def evaluate(client: httpx.AsyncClient) -> None:
        starts_at, told = "", False
        while True:
            ratio = counters.window.success_ratio(rule.subset)
            now = format_time_ms(clock.now())
            if ratio is not None and 1 - ratio > rule.threshold:
                starts_at, told = (starts_at, told) if starts_at else (now, False)
                summary = f"{1 - ratio:.0%} of the canary's answers are 5xx"
                if not told:
                    told = await post(client, webhook(rule, summary, starts_at=starts_at))
            elif starts_at:
                # Like Alertmanager: what was never heard to fire is not told to be over.
                over = webhook(rule, "", starts_at=starts_at, ends_at=now)
                if not told or await post(client, over):
                    starts_at = ""
            await clock.sleep(RULE_SECONDS)

    async def post(client: httpx.AsyncClient, body: dict[str, Any]) -> bool:
        try:
            answer = await client.post(webhook_url, content=msgspec.json.encode(body))
        except httpx.TransportError:
            return False
        return answer.is_success

    async with (
        httpx.AsyncClient(headers=headers, timeout=POST_SECONDS, trust_env=False) as client,
        _owned(lambda: evaluate(client), "rule"),
    ):
        yield


def webhook(rule: Rule, summary: str, *, starts_at: str, ends_at: str = "") -> dict[str, Any]:
    """The body of Alertmanager's webhook, version 4, with one alert; `ends_at` "" while it fires."""
    status = "resolved" if ends_at else "firing"
    labels = {"alertname": ALERT, "rollout": rule.rollout, "severity": "critical"}
    annotations = {"summary": summary}
    return {
        "receiver": "serinus",
        "status": status,
        "alerts": [
            {
                "status": status,
                "labels": labels,
                "annotations": annotations,
                "startsAt": starts_at,
                "endsAt": ends_at or _NEVER,
                "generatorURL": "",
                "fingerprint": hashlib.sha256(msgspec.json.encode(labels)).hexdigest()[:16],
            }
        ],
        "groupLabels": {"alertname": ALERT, "rollout": rule.rollout},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "",
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{ALERT}", rollout="{rule.rollout}"}}',
        "truncatedAlerts": 0,
    }


@contextlib.asynccontextmanager
async def _owned(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> AsyncIterator[None]:
    """A task that ends with the context; what it died of is raised there."""
    task = asyncio.create_task(work(), name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()
