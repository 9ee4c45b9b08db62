"""Web: any HTTP API that answers JSON or text (reference: Argo's metricproviders/webmetric)."""

from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from agent.analysis.providers.jsonpath import find
from agent.analysis.providers.oauth2 import OAuth2, Tokens
from agent.analysis.providers.port import Asked, Header, failed, judged, masked
from agent.api.analysis import Measurement, Metric
from agent.api.decode import parse_json, read
from agent.api.meta import Struct
from agent.api.names import WEB_REQUEST
from agent.errors import Refused, Unavailable
from agent.http import Answer, Http

TIMEOUT_SECONDS: Final = 10.0
_WITH_BODY: Final = ("POST", "PUT")


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request to be sent, as plain data."""

    method: str
    url: str
    headers: dict[str, str]
    body: str
    seconds: float
    verify: bool
    oauth2: OAuth2 | None


class Authentication(Struct):
    oauth2: OAuth2 = OAuth2()


class Shape(Struct):
    """The kinds of the settings; a cluster without Argo's CRDs takes anything."""

    url: str = ""
    method: str = ""
    body: str = ""
    json_path: str = ""
    timeout_seconds: int = 0
    insecure: bool = False
    headers: tuple[Header, ...] = ()
    authentication: Authentication = Authentication()


class Web:
    """Provider `web`."""

    name = "web"

    def __init__(self, http: Http, tokens: Tokens | None = None) -> None:
        self._tokens = tokens or Tokens(http)

    def check(self, metric: Metric) -> None:
        plan(metric)

    async def measure(self, asked: Asked) -> Measurement:
        try:
            request = plan(asked.metric)
        except Refused as error:
            return failed(str(error) if error.field else error.detail)
        metadata = {WEB_REQUEST: f"{request.method} {_shown(request.url)}"}
        try:
            answer = await self._tokens.request(
                request.oauth2,
                request.method,
                request.url,
                headers=request.headers,
                body=request.body.encode(),
                seconds=request.seconds,
                verify=request.verify,
            )
        except Unavailable as error:
            return failed(str(error), metadata)
        measured = convert(asked, answer)
        return msgspec.structs.replace(measured, metadata={**metadata, **(measured.metadata or {})})


def _shown(url: str) -> str:
    """Without a password in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def plan(metric: Metric) -> Request:
    """The request of a metric. Raises Refused in Argo's words."""
    settings: dict[str, Any] = (metric.provider or {}).get("web") or {}
    shape = read(Shape, settings)
    method = str(settings.get("method") or "GET")
    body, json_body = str(settings.get("body") or ""), settings.get("jsonBody")
    if body and json_body is not None:
        raise Refused("use either Body or JSONBody; both cannot exists for WebMetric payload")
    if (body or json_body is not None) and method not in _WITH_BODY:
        raise Refused("Body/JSONBody can only be used with POST or PUT WebMetric Method types")
    oauth2 = shape.authentication.oauth2
    wanted = oauth2.is_wanted("web")
    headers = {header.key: header.value for header in shape.headers}
    if json_body is not None:
        headers["Content-Type"] = "application/json"
        body = msgspec.json.encode(json_body).decode()
    return Request(
        method=method,
        url=str(settings.get("url") or ""),
        headers=headers,
        body=body,
        seconds=float(settings.get("timeoutSeconds") or TIMEOUT_SECONDS),
        verify=not settings.get("insecure"),
        oauth2=oauth2 if wanted else None,
    )


def convert(asked: Asked, answer: Answer) -> Measurement:
    """The measurement that an answer comes to."""
    if not 200 <= answer.status < 300:
        return failed(f"received non 2xx response code: {answer.status}")
    path = str(((asked.metric.provider or {}).get("web") or {}).get("jsonPath") or "")
    try:
        value: Any = parse_json(answer.body)
    except Refused:
        # Not JSON is plain text, as in Argo; a path into it finds nothing.
        value, shown = answer.body.decode(errors="replace"), answer.body.decode(errors="replace")
        if path and asked.compat == "safe":
            said = masked(shown, asked.secrets)[:200]
            return failed(f"the answer is not JSON, so {path} finds nothing: {said!r}")
    else:
        if path:
            try:
                hits = find(path, value)
            except Refused as error:
                return failed(f"Could not find JSONPath in body: {error.detail}")
            if not hits:
                return failed("result of web metric produced no value")
            value = hits[0]
        shown = msgspec.json.encode(value, order="deterministic").decode()
    return judged(asked, value, "json", shown)
