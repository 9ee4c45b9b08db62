"""Prometheus: instant and range queries over its HTTP API (reference: Argo's metricproviders/prometheus)."""

import base64
import math
import os
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import msgspec

from agent.analysis.expression import evaluate_time
from agent.analysis.missing import warned
from agent.analysis.providers.port import Asked, Header, failed, judged
from agent.api.analysis import Measurement, Metric
from agent.api.decode import parse_json, read
from agent.api.durations import parse_go_duration
from agent.api.meta import Struct
from agent.errors import Refused, Unavailable
from agent.http import Answer, Http

ADDRESS_VARIABLE: Final = "ARGO_ROLLOUTS_PROMETHEUS_ADDRESS"
TIMEOUT_SECONDS: Final = 30.0
QUERY: Final = "ResolvedPrometheusQuery"


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A request to be sent, as plain data."""

    url: str
    form: dict[str, str]
    headers: dict[str, str]
    seconds: float
    verify: bool


class BasicAuth(Struct):
    username: str = ""
    password: str = ""


class Authentication(Struct):
    basic_auth: BasicAuth | None = None


class RangeQuery(Struct):
    start: str = ""
    end: str = ""
    step: str = ""


class Shape(Struct):
    """The kinds of the settings; a cluster without Argo's CRDs takes anything."""

    address: str = ""
    query: str = ""
    timeout: int = 0
    insecure: bool = False
    headers: tuple[Header, ...] = ()
    authentication: Authentication | None = None
    range_query: RangeQuery | None = None


class Prometheus:
    """Provider `prometheus`.

    Args:
        address: for metrics that name none; the environment variable of Argo's controller counts, too.
    """

    name = "prometheus"

    def __init__(
        self, http: Http, *, address: str = "", environment: Mapping[str, str] | None = None
    ) -> None:
        environment = os.environ if environment is None else environment
        self._http = http
        self._address = address or environment.get(ADDRESS_VARIABLE, "")

    def check(self, metric: Metric) -> None:
        _settings(metric, self._address)

    async def measure(self, asked: Asked) -> Measurement:
        try:
            query = plan(asked.metric, self._address, asked.now)
        except Refused as error:
            return failed(error.detail)
        metadata = {QUERY: query.form["query"]}
        try:
            answer = await self._http.request(
                "POST",
                query.url,
                headers={**query.headers, "Content-Type": "application/x-www-form-urlencoded"},
                body=urlencode(query.form).encode(),
                seconds=query.seconds + 2,
                verify=query.verify,
            )
        except Unavailable as error:
            return failed(str(error), metadata)
        measured = convert(asked, answer)
        return msgspec.structs.replace(measured, metadata={**metadata, **(measured.metadata or {})})


def plan(metric: Metric, default_address: str, now: datetime) -> Query:
    """The request of a metric. Raises Refused in Argo's words."""
    settings, address = _settings(metric, default_address)
    query = str(settings.get("query") or "")
    seconds = float(settings.get("timeout") or TIMEOUT_SECONDS)
    form = {"query": query}
    span = settings.get("rangeQuery")
    if span:
        form |= {
            "start": _seconds(_time(span, "start", now).timestamp()),
            "end": _seconds(_time(span, "end", now).timestamp()),
            "step": _seconds(_step(span)),
        }
    form["timeout"] = f"{seconds:g}s"
    headers = {header.key: header.value for header in read(Shape, settings).headers}
    basic = (settings.get("authentication") or {}).get("basicAuth")
    if basic:
        pair = f"{basic['username']}:{basic['password']}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    path = "/api/v1/query_range" if span else "/api/v1/query"
    return Query(
        url=address.rstrip("/") + path,
        form=form,
        headers=headers,
        seconds=seconds,
        verify=not settings.get("insecure"),
    )


def convert(asked: Asked, answer: Answer) -> Measurement:
    """The measurement that an answer of the HTTP API comes to."""
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
    except (KeyError, TypeError, ValueError, IndexError) as error:
        return failed(f"the answer is not one of Prometheus' query API: {error}")
    metadata = None
    if body.get("warnings"):
        said = body["warnings"]
        warnings = said if isinstance(said, list) else [said]
        metadata = {"warnings": ",".join(msgspec.json.encode(w).decode() for w in warnings)}
    noted = warned(f"Prometheus warns: {metadata['warnings']}") if metadata else None
    return judged(asked, value, kind, text(value), noted=noted, metadata=metadata)


def text(value: float | list[float]) -> str:
    """The value as Argo records it."""
    if isinstance(value, list):
        return f"[{','.join(_number(item) for item in value)}]"
    return _number(value)


def _number(value: float) -> str:
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


def _settings(metric: Metric, default_address: str) -> tuple[dict[str, Any], str]:
    settings: dict[str, Any] = (metric.provider or {}).get("prometheus") or {}
    read(Shape, settings)
    address = str(settings.get("address") or default_address)
    if not address:
        raise Refused("prometheus address is not configured", field="provider.prometheus.address")
    if not _is_url(address):
        raise Refused(
            "prometheus address is not is url format", field="provider.prometheus.address"
        )
    timeout = settings.get("timeout")
    if timeout is not None and timeout < 0:
        raise Refused(
            "prometheus timeout should not be negative", field="provider.prometheus.timeout"
        )
    authentication = settings.get("authentication") or {}
    basic = authentication.get("basicAuth")
    if basic is not None:
        for field in ("username", "password"):
            if not basic.get(field):
                raise Refused(
                    f"missing mandatory parameter in metric for basic auth setup: {field}",
                    field="provider.prometheus.authentication.basicAuth",
                )
    for kind in ("oauth2", "sigv4"):
        if authentication.get(kind):
            raise Refused(
                f"{kind} is not supported by Serinus yet; use headers or basicAuth",
                field=f"provider.prometheus.authentication.{kind}",
            )
    return settings, address


def _is_url(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _time(span: Mapping[str, Any], field: str, now: datetime) -> datetime:
    try:
        return evaluate_time(str(span.get(field) or ""), now)
    except Refused as error:
        raise Refused(f"failed to parse rangeQuery.{field} as time: {error.detail}") from error


def _step(span: Mapping[str, Any]) -> float:
    try:
        return parse_go_duration(str(span.get("step") or "")) / 1e9
    except ValueError as error:
        raise Refused(f"failed to parse rangeQuery.step as duration: {error}") from error


def _seconds(value: float) -> str:
    return _number(value)
