"""A stand-in for Prometheus that answers what the judge asks, and traffic whose counters it scrapes."""

import random
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from agent.errors import Refused, Unavailable

_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"((?:\\.|[^"\\])*)"')


class Tsdb:
    """Series with their samples. Selectors, ranges of them, `last_over_time` and `sum` are understood."""

    def __init__(self) -> None:
        self.series: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
        self.asked: list[dict[str, str]] = []
        self.away = False
        self.warnings: list[str] = []

    def sample(self, at: float, value: float, **labels: str) -> None:
        self.series.setdefault(tuple(sorted(labels.items())), []).append((at, value))

    async def raw(
        self, settings: Mapping[str, Any], form: Mapping[str, str], now: datetime
    ) -> dict[str, Any]:
        self.asked.append(dict(form))
        if self.away:
            raise Unavailable("http://prometheus did not answer within 30 s")
        body: dict[str, Any] = {"status": "success", "data": self.answer(form)}
        return {**body, "warnings": self.warnings} if self.warnings else body

    def answer(self, form: Mapping[str, str]) -> dict[str, Any]:
        query = form["query"]
        if "step" in form:
            return self._sums(query.removeprefix("sum(").removesuffix(")"), form)
        function = query.startswith("last_over_time(")
        inner = query.removeprefix("last_over_time(").removesuffix(")") if function else query
        found = re.fullmatch(r"(.*)\[(\d+)([sh])\]", inner)
        if not found:
            raise Refused(f"the stand-in does not understand {query}")
        until = float(form["time"])
        since = until - float(found[2]) * (3600 if found[3] == "h" else 1)
        rows = []
        for labels, samples in self.matching(found[1]):
            within = [[at, repr(value)] for at, value in samples if since < at <= until]
            if within:
                rows.append({"metric": labels, "values": within, "value": within[-1]})
        if function:
            result = [{"metric": row["metric"], "value": row["value"]} for row in rows]
            return {"resultType": "vector", "result": result}
        result = [{"metric": row["metric"], "values": row["values"]} for row in rows]
        return {"resultType": "matrix", "result": result}

    def matching(self, selector: str) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        name, _, rest = selector.partition("{")
        matchers = _MATCHER.findall(rest)
        found = []
        for key, samples in self.series.items():
            labels = dict(key)
            if name and labels.get("__name__") != name:
                continue
            if all(_matches(labels.get(label, ""), how, to) for label, how, to in matchers):
                found.append((labels, samples))
        return found

    def _sums(self, selector: str, form: Mapping[str, str]) -> dict[str, Any]:
        start, end, step = (float(form[name]) for name in ("start", "end", "step"))
        values = []
        at = start
        while at <= end:
            last = [
                before[-1]
                for _, samples in self.matching(selector)
                if (before := [v for t, v in samples if at - 300 < t <= at])
            ]
            if last:
                values.append([at, repr(float(sum(last)))])
            at += step
        result = [{"metric": {}, "values": values}] if values else []
        return {"resultType": "matrix", "result": result}


def _matches(value: str, how: str, to: str) -> bool:
    hit = re.fullmatch(to, value) is not None if "~" in how else value == to
    return hit != how.startswith("!")


class Traffic:
    """Requests through one gateway that counts them by version and response code.

    Args:
        rate: requests a second of both versions together.
        canary, stable: chances of a bad request.
        share: of the canary.
    """

    def __init__(
        self, seed: int, *, rate: float, canary: float, stable: float, share: float = 0.1
    ) -> None:
        self.rng = random.Random(seed)
        self.rate, self.share = rate, share
        self.bad = {"canary": canary, "stable": stable}
        self.counted: dict[tuple[str, str], float] = {}

    def serve(self, seconds: float) -> None:
        """What happens in this time."""
        for version, share in (("canary", self.share), ("stable", 1 - self.share)):
            for _ in range(round(self.rate * share * seconds)):
                code = "503" if self.rng.random() < self.bad[version] else "200"
                self.counted[version, code] = self.counted.get((version, code), 0.0) + 1

    def scrape(self, tsdb: Tsdb, at: float, **labels: str) -> None:
        """All counters, as they are now. A counter exists once it has counted."""
        for (version, code), value in self.counted.items():
            tsdb.sample(
                at,
                value,
                __name__="istio_requests_total",
                destination_service_name=f"web-{version}",
                response_code=code,
                **{"instance": "gateway", "job": "istio", **labels},
            )
