"""web-provider: HTTP answers of a web metric become measurements, and the request that was sent."""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from agent.analysis.providers.port import Asked
from agent.analysis.providers.web import convert, plan
from agent.api.analysis import Metric
from agent.api.decode import read
from agent.errors import Refused
from agent.http import Answer
from tests.conformance.compare import differences
from tests.conformance.compat import COMPAT

_NOW: Final = datetime(2024, 5, 1, 10, 0, tzinfo=UTC)


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    metric = read(Metric, given["metric"])
    try:
        request = plan(metric)
    except Refused as error:
        return differences(
            expect, {"phase": "Error", "message": error.detail, "setupError": error.detail}
        )
    answer = Answer(given["response"]["status"], {}, given["response"]["body"].encode())
    made = convert(Asked(metric=metric, now=_NOW, compat=COMPAT.get()), answer)
    sent: dict[str, Any] = {"method": request.method}
    wanted = expect.get("request") or {}
    if "body" in wanted:
        sent["body"] = wanted["body"] if _same_json(request.body, wanted["body"]) else request.body
    if "headers" in wanted:
        sent["headers"] = request.headers
    got = {
        "phase": made.phase,
        "value": made.value,
        "message": made.message or None,
        "request": sent,
    }
    if "messagePrefix" in expect:
        got["messagePrefix"] = made.message[: len(expect["messagePrefix"])]
    return differences(expect, got)


def _same_json(one: str, other: str) -> bool:
    """White space of a jsonBody is that of whoever serialised the manifest."""
    try:
        return bool(msgspec.json.decode(one) == msgspec.json.decode(other))
    except msgspec.MsgspecError:
        return False
