"""prometheus-conversion: answers of Prometheus' HTTP API become measurements."""

import math
from datetime import UTC, datetime
from typing import Any

import msgspec

from agent.analysis.providers.port import Asked
from agent.analysis.providers.prometheus import Prometheus, plan
from agent.analysis.providers.prometheus_answers import convert
from agent.api.analysis import Metric
from agent.api.decode import read
from agent.api.names import QUERY
from agent.errors import Refused
from agent.http import Answer, Http
from tests.conformance.compare import differences
from tests.conformance.compat import COMPAT

ADDRESS = "http://prometheus.example"
NOW = datetime(2024, 5, 1, 10, 0, tzinfo=UTC)


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    metric = read(Metric, given["metric"])
    if given["question"] == "configure":
        return differences(expect, _configured(metric, given.get("env") or {}))
    try:
        query = plan(metric, ADDRESS, NOW)
    except Refused as error:
        return differences(expect, {"phase": "Error", "message": error.detail})
    answer = given["response"]
    body = msgspec.json.encode(answer["body"]) if "body" in answer else answer["text"].encode()
    made = convert(
        Asked(metric=metric, now=NOW, compat=COMPAT.get()),
        Answer(answer["status"], {}, body),
        # The answers are of other days.
        msgspec.structs.replace(query, age=math.inf),
    )
    form = {name: value for name, value in query.form.items() if name != "timeout"}
    got: dict[str, Any] = {
        "phase": made.phase,
        "value": made.value,
        "message": made.message or None,
        "measurementMetadata": made.metadata,
        "metricMetadata": {QUERY: query.form["query"]},
        "request": {"path": query.url.removeprefix(ADDRESS), "form": form},
        "requestHeaders": query.headers,
    }
    if "messagePrefix" in expect:
        prefix = expect["messagePrefix"]
        got["messagePrefix"] = made.message[: len(prefix)]
    return differences(expect, got)


def _configured(metric: Metric, environment: dict[str, str]) -> dict[str, Any]:
    try:
        Prometheus(Http(), environment=environment).check(metric)
    except Refused as error:
        return {"error": error.detail}
    return {"ok": True}
