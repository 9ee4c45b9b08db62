"""The failure vocabulary (docs/architecture.md, "Failures").

Callers match on these types, never on message text. Anything that is not one of them is a bug of
ours: the rollout it happened in stays where it is and waits for a person.
"""


class SerinusError(Exception):
    """Base of every error that Serinus raises on purpose."""


class Refused(SerinusError):
    """Input of a user that cannot be accepted; `field` is a path into the object, "" for all of it."""

    def __init__(self, detail: str, *, field: str = "") -> None:
        super().__init__(f"{field}: {detail}" if field else detail)
        self.field = field
        self.detail = detail


class Retry(SerinusError):
    """A transient failure of one rollout; try again after `after_seconds`."""

    def __init__(self, detail: str, *, after_seconds: float) -> None:
        super().__init__(detail)
        self.after_seconds = after_seconds


class Unavailable(SerinusError):
    """A dependency (API server, bus, provider) does not answer: everybody who needs it waits."""

    def __init__(self, detail: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class NotFound(SerinusError):
    """The object does not exist."""


class AlreadyExists(SerinusError):
    """An object of that name exists already."""


class Conflict(SerinusError):
    """Lost a compare-and-swap (HTTP 409, or a JSON Patch `test` that failed): observe again."""


class Invalid(SerinusError):
    """The API server refused the object or the patch itself (HTTP 400, 422): sending it again is useless."""


class Forbidden(SerinusError):
    """Authentication or authorization failed (HTTP 401, 403)."""


class Gone(SerinusError):
    """The resource version is too old to be watched (HTTP 410): list again."""
