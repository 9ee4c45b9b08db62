"""What a request to the facade asks: its kind and object, its body, its page of a list."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final

import msgspec
from starlette.requests import Request

from agent.api.meta import Object
from agent.cluster.local import selectors, served
from agent.cluster.local.status import Rejected, Subject
from agent.cluster.port import Kind
from agent.errors import Invalid

MAX_BODY: Final = 3 * 1024 * 1024
JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
BUILT_IN: Final = frozenset({"", "apps", "batch", "coordination.k8s.io"})
"""Groups of Kubernetes' own kinds."""
NO_SUCH_PATH: Final = "the server could not find the requested resource"


def kind_of(request: Request) -> Kind:
    """The kind that the path names. Raises Rejected, also for a dry run."""
    named = request.path_params
    kind = served.find(named.get("group", ""), named["version"], named["plural"])
    if kind is None or ("namespace" in named and not kind.namespaced):
        raise Rejected(404, "NotFound", NO_SUCH_PATH)
    if request.query_params.get("dryRun"):
        raise Rejected(400, "BadRequest", "dryRun: the local cluster cannot rehearse a write")
    return kind


def target_of(request: Request) -> tuple[Kind, str, str]:
    """Kind, namespace and name of the one object that the path names. Raises Rejected."""
    kind, named = kind_of(request), request.path_params
    if kind.namespaced and "namespace" not in named:
        raise Rejected(404, "NotFound", NO_SUCH_PATH)
    return kind, named.get("namespace", ""), named["name"]


def subject_of(request: Request) -> Subject:
    """What the path says, for an error about it."""
    named = request.scope.get("path_params") or {}
    return Subject(named.get("group", ""), named.get("plural", ""), named.get("name", ""))


def is_custom(kind: Kind) -> bool:
    """Whether the kind comes from a CRD: those know no strategic merge patch."""
    return kind.group not in BUILT_IN


def unsupported(kind: Kind) -> Rejected:
    """The refusal of a patch in another format than the kind knows."""
    known = [JSON_PATCH, MERGE_PATCH, *(() if is_custom(kind) else (STRATEGIC_PATCH,))]
    return Rejected(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(known),
    )


def media_of(request: Request) -> str:
    """The content type without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def selectors_of(request: Request) -> dict[str, str]:
    """The label and field selector, as the store's lists and watches take them. Raises Rejected."""
    query = request.query_params
    labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
    try:
        selectors.parse(labels, fields)
    except Invalid as error:
        raise Rejected(400, "BadRequest", str(error)) from error
    return {"labels": labels, "fields": fields}


def number(text: str | None, parameter: str) -> int:
    """A parameter that is a whole number, 0 when it is absent. Raises Rejected."""
    if not text:
        return 0
    if not text.isascii() or not text.isdecimal():
        raise Rejected(400, "BadRequest", f"{parameter}: {text!r} is not a whole number")
    return int(text)


async def read(request: Request) -> bytes:
    """The body, of bounded length. Raises Rejected."""
    collected = bytearray()
    async for chunk in request.stream():
        collected += chunk
        if len(collected) > MAX_BODY:
            raise Rejected(
                413, "RequestEntityTooLarge", f"the body is longer than the limit of {MAX_BODY}"
            )
    return bytes(collected)


async def body(request: Request, *, optional: bool = False) -> dict[str, Any]:
    """The body as an object; {} for an empty one that may be empty. Raises Rejected for other than JSON."""
    if media_of(request) not in ("", "application/json"):
        raise Rejected(
            415,
            "UnsupportedMediaType",
            f"the local cluster speaks JSON, not {media_of(request)}; with kubectl use `apply -f`",
        )
    raw = await read(request)
    return {} if optional and not raw else decoded(raw)


def decoded(raw: bytes) -> dict[str, Any]:
    """JSON that must be an object. Raises msgspec.MsgspecError."""
    return msgspec.json.decode(raw, type=dict[str, Any])


def address(obj: Object) -> tuple[str, str]:
    """Namespace and name, the order of a list."""
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def continue_token(version: int, last: tuple[str, str]) -> str:
    """Where the next page begins: after an object, of a list that was begun at a version."""
    return urlsafe_b64encode(msgspec.json.encode((version, last))).decode()


def continued(token: str) -> tuple[int, tuple[str, str]] | None:
    """What `continue_token` was made of, None for no token. Raises Rejected."""
    if not token:
        return None
    try:
        return msgspec.json.decode(urlsafe_b64decode(token), type=tuple[int, tuple[str, str]])
    except (msgspec.MsgspecError, ValueError) as error:
        raise Rejected(400, "BadRequest", "continue key is not valid") from error
