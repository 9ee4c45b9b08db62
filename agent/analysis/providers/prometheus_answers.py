"""Answers of Prometheus' HTTP API as measurements. PURE."""

import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from agent.analysis.missing import Missing, missing_in, stale, warned
from agent.analysis.providers.oauth2 import OAuth2
from agent.analysis.providers.port import Asked, failed, judged
from agent.api.analysis import Measurement
from agent.api.decode import parse_json
from agent.errors import Refused
from agent.http import Answer


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A request to be sent, as plain data; the newest sample is to be at most `age` older than `until`."""

    url: str
    form: dict[str, str]
    headers: dict[str, str]
    seconds: float
    verify: bool
    until: datetime
    age: float
    oauth2: OAuth2 | None = None


def convert(
    asked: Asked, answer: Answer, query: Query, *, noted: Missing | None = None
) -> Measurement:
    """The measurement that an answer of the HTTP API comes to; `noted` is what speaks against the data."""
    try:
        body: Any = parse_json(answer.body)
    except Refused:
        body = None
    if not isinstance(body, dict) or "status" not in body or answer.status >= 500:
        return failed(_http_error(answer.status))
    if body.get("status") != "success":
        return failed(f"{body.get('errorType', '')}: {body.get('error', '')}")
    data = body.get("data") or {}
    try:
        value, kind = _result(data)
        _times(data)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        return failed(f"the answer is not one of Prometheus' query API: {error}")
    metadata = {
        name: ",".join(msgspec.json.encode(said).decode() for said in _listed(body.get(name)))
        for name in ("warnings", *(("infos",) if asked.compat == "safe" else ()))
        if body.get(name)
    }
    empty = missing_in(value)
    noted = _too_old(data, query) or noted
    if empty and empty.whole:
        # That nothing came says it all, and a condition may ask for it.
        noted = None
    if "warnings" in metadata:
        noted = noted or warned(f"Prometheus warns: {metadata['warnings']}")
    return judged(asked, value, kind, text(value), noted=noted, metadata=metadata)


def _listed(said: Any) -> list[Any]:
    return said if isinstance(said, list) else [said]


def _too_old(data: Mapping[str, Any], query: Query) -> Missing | None:
    """Whether the newest sample is older than it can be."""
    newest = max(_times(data), default=None)
    if newest is None or not math.isfinite(newest):
        return None
    age = query.until.timestamp() - newest
    if age <= query.age:
        return None
    return stale(
        f"the newest sample is {age:.0f} s older than the time that was asked for (a cache, or clocks that differ?)"
    )


def _times(data: Mapping[str, Any]) -> list[float]:
    result = data["result"]
    if data["resultType"] == "scalar":
        return [float(result[0])]
    if data["resultType"] == "vector":
        return [float(sample["value"][0]) for sample in result]
    return [float(at) for series in result for at, _ in series["values"]]


def text(value: float | list[float]) -> str:
    """The value as Argo records it."""
    if isinstance(value, list):
        return f"[{','.join(plain(item) for item in value)}]"
    return plain(value)


def plain(value: float) -> str:
    """Shortest decimal form without an exponent, as Go's FormatFloat(v, 'f', -1, 64)."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    plain = format(Decimal(repr(value)), "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _result(data: Mapping[str, Any]) -> tuple[Any, str]:
    """The value and its static type, for the conditions."""
    kind, result = data["resultType"], data["result"]
    if kind == "scalar":
        return float(result[1]), "float"
    if kind == "vector":
        return [float(sample["value"][1]) for sample in result], "floats"
    if kind == "matrix":
        return [float(value) for series in result for _, value in series["values"]], "floats"
    raise ValueError(f"result type {kind!r} is not supported")


def _http_error(status: int) -> str:
    if status >= 500:
        return f"server_error: server error: {status}"
    if status >= 400:
        return f"client_error: client error: {status}"
    return f"bad_response: HTTP {status} without an answer of Prometheus' API"
