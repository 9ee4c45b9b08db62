"""OAuth 2 for providers: requests with a token of the client-credentials grant (RFC 6749, section 4.4).

A token is fetched once for all that need it, kept until shortly before it ends, and shown nowhere.
"""

import asyncio
import base64
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

import msgspec

from agent.analysis.providers.port import MASK, masked
from agent.api.decode import parse_json
from agent.api.meta import Struct
from agent.errors import Refused, Unavailable
from agent.http import Answer, Http, shown_host

TOKEN_SECONDS: Final = 10.0
EARLY_SECONDS: Final = 10.0
"""A token is not used for its last seconds: it would end on the way."""
UNTOLD_SECONDS: Final = 300.0
"""How long a token is kept that does not say how long it lasts."""
MAX_TOKENS: Final = 256
MAX_BODY: Final = 64 * 1024
MAX_TOKEN: Final = 16 * 1024
_TEXT: Final = 200


class OAuth2(Struct):
    """`authentication.oauth2` of a metric."""

    token_url: str = ""
    client_id: str = ""
    client_secret: str = ""
    scopes: tuple[str, ...] = ()

    def is_wanted(self, kind: str) -> bool:
        """Raises Refused, in Argo's words, when it is wanted and something is missing.

        Args:
            kind: the provider it is of.
        """
        given = (self.token_url, self.client_id, self.client_secret)
        if any(given) and not all(given):
            names = ("tokenUrl", "clientId", "clientSecret")
            lacking = next(name for name, value in zip(names, given, strict=True) if not value)
            raise Refused(
                "missing mandatory parameter in metric for OAuth2 setup",
                field=f"provider.{kind}.authentication.oauth2.{lacking}",
            )
        return all(given)


class _Token(msgspec.Struct):
    text: str
    ends: float


class Tokens:
    """Sends requests with tokens. One for all providers of a process."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._known: OrderedDict[bytes, _Token] = OrderedDict()
        self._fetched: dict[bytes, asyncio.Task[_Token]] = {}

    async def request(
        self,
        oauth2: OAuth2 | None,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        seconds: float,
        verify: bool,
    ) -> Answer:
        """One request; with `oauth2` one that bears a token, and once more with a new one if that is refused.

        Raises Unavailable when there is no (whole) answer, or no token.
        """
        if oauth2 is None:
            return await self._http.request(
                method, url, headers=headers, body=body, seconds=seconds, verify=verify
            )
        key = _key(oauth2, verify)
        for last in (False, True):
            token = await self._token(key, oauth2, verify, min(seconds, TOKEN_SECONDS))
            others = {n: value for n, value in headers.items() if n.lower() != "authorization"}
            answer = await self._http.request(
                method,
                url,
                headers={**others, "Authorization": f"Bearer {token.text}"},
                body=body,
                seconds=seconds,
                verify=verify,
            )
            if answer.status != 401 or last:
                break
            if self._known.get(key) is token:
                del self._known[key]
        # A server that shows what it was sent must not get the token into an AnalysisRun.
        clean = answer.body.replace(token.text.encode(), MASK.encode())
        return msgspec.structs.replace(answer, body=clean)

    async def _token(self, key: bytes, oauth2: OAuth2, verify: bool, seconds: float) -> _Token:
        known = self._known.get(key)
        if known is not None and asyncio.get_running_loop().time() < known.ends:
            self._known.move_to_end(key)
            return known
        task = self._fetched.get(key)
        if task is None:
            task = asyncio.create_task(self._fetch(key, oauth2, verify, seconds))
            self._fetched[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    def _forget(self, key: bytes, done: "asyncio.Task[_Token]") -> None:
        self._fetched.pop(key, None)
        if not done.cancelled():
            done.exception()  # whoever asked may have given up

    async def _fetch(self, key: bytes, oauth2: OAuth2, verify: bool, seconds: float) -> _Token:
        host = shown_host(oauth2.token_url)
        pair = f"{quote_plus(oauth2.client_id)}:{quote_plus(oauth2.client_secret)}"
        form = {"grant_type": "client_credentials"}
        if oauth2.scopes:
            form["scope"] = " ".join(oauth2.scopes)
        plain = {**form, "client_id": oauth2.client_id, "client_secret": oauth2.client_secret}
        basic = {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        # Some servers take the client only in the body; those that know it answer 200 to the first.
        answer = await self._ask(oauth2, form, basic, verify, seconds)
        if answer.status in (400, 401, 403):
            answer = await self._ask(oauth2, plain, {}, verify, seconds)
        try:
            token, lasts = _read(answer)
        except Refused as error:
            detail = masked(error.detail, (oauth2.client_secret,))
            raise Unavailable(f"no OAuth2 token from {host}: {detail}") from error
        made = _Token(token, asyncio.get_running_loop().time() + lasts)
        self._known[key] = made
        while len(self._known) > MAX_TOKENS:
            self._known.popitem(last=False)
        return made

    async def _ask(
        self,
        oauth2: OAuth2,
        form: Mapping[str, str],
        headers: Mapping[str, str],
        verify: bool,
        seconds: float,
    ) -> Answer:
        try:
            return await self._http.request(
                "POST",
                oauth2.token_url,
                headers={
                    **headers,
                    "Content-Type": "application/x-www-form-urlencoded",
                    "Accept": "application/json",
                },
                body=urlencode(form).encode(),
                seconds=seconds,
                verify=verify,
                max_body=MAX_BODY,
            )
        except Unavailable as error:
            raise Unavailable(f"no OAuth2 token: {error}") from error


def _key(oauth2: OAuth2, verify: bool) -> bytes:
    return hashlib.sha256(msgspec.json.encode((oauth2, verify))).digest()


def _read(answer: Answer) -> tuple[str, float]:
    """The token and how long it may be used. Raises Refused with what the endpoint said."""
    try:
        body: Any = parse_json(answer.body)
    except Refused:
        body = None
    if not isinstance(body, dict):
        raise Refused(f"HTTP {answer.status} without an answer of a token endpoint")
    if answer.status != 200:
        said = [str(body[name]) for name in ("error", "error_description") if body.get(name)]
        raise Refused(f"HTTP {answer.status}: {': '.join(said) or 'no reason'}"[:_TEXT])
    token, kind = body.get("access_token"), str(body.get("token_type") or "Bearer")
    if not isinstance(token, str) or not token or len(token) > MAX_TOKEN:
        raise Refused("the answer has no access_token")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise Refused("the access_token has characters that no header may have")
    if kind.lower() != "bearer":
        raise Refused(f"the token's type is {kind[:_TEXT]!r}, not Bearer")
    lasts = body.get("expires_in")
    try:
        seconds = float(lasts) if lasts is not None else UNTOLD_SECONDS
    except (TypeError, ValueError):
        seconds = UNTOLD_SECONDS
    return token, max(0.0, seconds - EARLY_SECONDS)
