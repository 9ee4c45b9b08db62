"""What an API server answers to a request that failed: objects of kind Status, and their HTTP codes. Pure."""

from typing import Any, Final, NamedTuple

from agent.cluster.local.patches import PatchNotApplicable, PatchTestFailed
from agent.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    SerinusError,
    Unavailable,
)


class Rejected(SerinusError):
    """A request that never reached an object: its form, its path, its credentials."""

    def __init__(self, code: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.reason = reason


class Subject(NamedTuple):
    """What a request was about, as far as its path says."""

    group: str = ""
    plural: str = ""
    name: str = ""


NOTHING: Final = Subject()

CODES: Final[dict[type[SerinusError], tuple[int, str]]] = {
    NotFound: (404, "NotFound"),
    AlreadyExists: (409, "AlreadyExists"),
    Conflict: (409, "Conflict"),
    Invalid: (422, "Invalid"),
    Forbidden: (403, "Forbidden"),
    Gone: (410, "Expired"),
    Unavailable: (503, "ServiceUnavailable"),
}
REJECTED_PATCH: Final = "the server rejected our request due to an error in our request"
"""All that an API server says about a JSON patch that did not apply or whose test failed."""


def failure(error: SerinusError, subject: Subject = NOTHING) -> dict[str, Any]:
    """The Status object of an error; its `code` is the HTTP status."""
    if isinstance(error, Rejected):
        return _status(error.code, error.reason, str(error), {})
    if isinstance(error, PatchTestFailed | PatchNotApplicable):
        return _status(422, "Invalid", REJECTED_PATCH, {})
    code, reason = next(
        (known for kind, known in CODES.items() if isinstance(error, kind)), (500, "InternalError")
    )
    details: dict[str, Any] = {
        name: value
        for name, value in (
            ("name", subject.name),
            ("group", subject.group),
            ("kind", subject.plural),
        )
        if value
    }
    if isinstance(error, Unavailable) and error.retry_after_seconds is not None:
        details["retryAfterSeconds"] = max(1, round(error.retry_after_seconds))
    return _status(code, reason, str(error), details)


def success(subject: Subject, uid: str) -> dict[str, Any]:
    """The answer to a delete."""
    details = {"name": subject.name, "group": subject.group, "kind": subject.plural, "uid": uid}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {name: value for name, value in details.items() if value},
    }


def _status(code: int, reason: str, message: str, details: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": details,
        "code": code,
    }
