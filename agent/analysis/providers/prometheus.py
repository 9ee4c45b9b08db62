"""Prometheus: instant and range queries over its HTTP API (reference: Argo's metricproviders/prometheus)."""

import base64
import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import msgspec

from agent.analysis.expression import evaluate_time
from agent.analysis.missing import Missing
from agent.analysis.providers import freshness
from agent.analysis.providers.oauth2 import OAuth2, Tokens
from agent.analysis.providers.port import Asked, Header, failed
from agent.analysis.providers.prometheus_answers import Query, convert, plain
from agent.api.analysis import Measurement, Metric
from agent.api.decode import parse_json, read
from agent.api.durations import parse_go_duration
from agent.api.meta import Struct
from agent.api.names import QUERY
from agent.errors import Refused, Unavailable
from agent.http import Answer, Http

ADDRESS_VARIABLE: Final = "ARGO_ROLLOUTS_PROMETHEUS_ADDRESS"
TIMEOUT_SECONDS: Final = 30.0
FRESHNESS: Final = "freshness"
MAX_AGE_SECONDS: Final = 60.0
"""Prometheus dates an instant answer with the time of the question; an older one comes from a cache."""


class BasicAuth(Struct):
    username: str = ""
    password: str = ""


class Authentication(Struct):
    basic_auth: BasicAuth | None = None
    oauth2: OAuth2 = OAuth2()


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
        check_freshness: also ask whether the series behind a query's ranges are live (`safe` only).
    """

    name = "prometheus"

    def __init__(
        self,
        http: Http,
        tokens: Tokens | None = None,
        *,
        address: str = "",
        environment: Mapping[str, str] | None = None,
        check_freshness: bool = True,
    ) -> None:
        self._check_freshness = check_freshness
        environment = os.environ if environment is None else environment
        self._tokens = tokens or Tokens(http)
        self._address = address or environment.get(ADDRESS_VARIABLE, "")

    def check(self, metric: Metric) -> None:
        _settings(metric, self._address)

    async def measure(self, asked: Asked) -> Measurement:
        """One query, and in `safe` a second one about the series behind its ranges."""
        metadata = {QUERY: _query_text(asked.metric)}
        try:
            query = plan(asked.metric, self._address, asked.now)
            answer = await self._ask(query, query.form)
        except Refused as error:
            return failed(error.detail, metadata)
        except Unavailable as error:
            return failed(str(error), metadata)
        noted, unknown = None, ""
        found = freshness.ranges(query.form["query"])
        if found and asked.compat == "safe" and self._check_freshness and not _is_range(query):
            noted, unknown = await self._doubt(query, found)
        if unknown:
            metadata[FRESHNESS] = unknown
        measured = convert(asked, answer, query, noted=noted)
        return msgspec.structs.replace(measured, metadata={**metadata, **(measured.metadata or {})})

    async def raw(
        self, settings: Mapping[str, Any], form: Mapping[str, str], now: datetime
    ) -> dict[str, Any]:
        """The body of a successful answer to a question of another provider's.

        Args:
            settings: address, headers, authentication, insecure and timeout as of this provider.
            form: of the request; with a `step` it is a range query.

        Raises Refused for settings and questions that cannot be, Unavailable without an answer.
        """
        metric = Metric(provider={"prometheus": {**settings, "query": form["query"]}})
        query = plan(metric, self._address, now)
        if "step" in form:
            query = msgspec.structs.replace(query, url=f"{query.url}_range")
        answer = await self._ask(query, {**query.form, **form})
        try:
            body = parse_json(answer.body)
        except Refused:
            body = None
        if not isinstance(body, dict) or "status" not in body:
            raise Unavailable(f"HTTP {answer.status} without an answer of Prometheus' API")
        if body["status"] != "success":
            raise Unavailable(f"{body.get('errorType', '')}: {body.get('error', '')}")
        return body

    async def _ask(self, query: Query, form: dict[str, str]) -> Answer:
        return await self._tokens.request(
            query.oauth2,
            "POST",
            query.url,
            headers={**query.headers, "Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode(),
            seconds=query.seconds + 2,
            verify=query.verify,
        )

    async def _doubt(
        self, query: Query, found: tuple[freshness.Ranged, ...]
    ) -> tuple[Missing | None, str]:
        """What speaks against the data, or why that is not known: another server may not have the functions."""
        form = {"query": freshness.question(found), "timeout": query.form["timeout"]}
        try:
            answer = await self._ask(query, form)
            body = parse_json(answer.body)
            if not isinstance(body, dict) or body.get("status") != "success":
                return None, "unknown: the server did not take the question"
            return freshness.doubt(found, body["data"]["result"]), ""
        except (Refused, Unavailable, KeyError, TypeError, ValueError, AttributeError) as error:
            return None, f"unknown: {error}"


def _is_range(query: Query) -> bool:
    return "step" in query.form


def _query_text(metric: Metric) -> str:
    return str(((metric.provider or {}).get("prometheus") or {}).get("query") or "")


def plan(metric: Metric, default_address: str, now: datetime) -> Query:
    """The request of a metric. Raises Refused in Argo's words."""
    settings, address = _settings(metric, default_address)
    query = str(settings.get("query") or "")
    seconds = float(settings.get("timeout") or TIMEOUT_SECONDS)
    form = {"query": query}
    span = settings.get("rangeQuery")
    until, age = now, MAX_AGE_SECONDS
    if span:
        start, until, step = _time(span, "start", now), _time(span, "end", now), _step(span)
        age = max(age, 2 * step)
        form |= {
            "start": _seconds(start.timestamp()),
            "end": _seconds(until.timestamp()),
            "step": _seconds(step),
        }
    form["timeout"] = f"{seconds:g}s"
    shape = read(Shape, settings)
    headers = {header.key: header.value for header in shape.headers}
    oauth2 = shape.authentication.oauth2 if shape.authentication else OAuth2()
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
        until=until,
        age=age,
        oauth2=oauth2 if oauth2.is_wanted("prometheus") else None,
    )


def _settings(metric: Metric, default_address: str) -> tuple[dict[str, Any], str]:
    settings: dict[str, Any] = (metric.provider or {}).get("prometheus") or {}
    shape = read(Shape, settings)
    if shape.authentication is not None:
        shape.authentication.oauth2.is_wanted("prometheus")
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
    if authentication.get("sigv4"):
        raise Refused(
            "sigv4 is not driven by Serinus: put a proxy that signs (aws-sigv4-proxy) in front, and name that",
            field="provider.prometheus.authentication.sigv4",
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
    return plain(value)
