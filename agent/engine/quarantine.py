"""Quarantine: a rollout in which the agent failed for a reason it does not know stays where it is.

It waits, under that name, for its object to change or for a person; everybody else goes on. What is needed to
replay the failure goes to a file that only the agent's user can read, without secrets.
"""

import hashlib
import os
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from agent.api.meta import Key, Object
from agent.api.names import OUTBOX_CONDITION
from agent.api.times import format_time_ms
from agent.rollout.types import Observation

log = structlog.get_logger(__name__)

REDACTED: Final = "(redacted)"
MAX_DUMPS: Final = 50
_SECRET_WORDS: Final = ("password", "passwd", "secret", "token", "apikey", "api-key", "authorization", "credential")  # fmt: skip


class Quarantine:
    """Which rollouts are in quarantine, and since which version of their object.

    Args:
        directory: where dumps go; None writes none.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._held: dict[Key, tuple[str, str]] = {}

    def enter(self, key: Key, rollout: Object, error: BaseException) -> str:
        """Put a rollout into quarantine; the sentence that names the wait."""
        text = f"an error of the agent ({type(error).__name__}: {error})"[:300]
        self._held[key] = (_mark(rollout), text)
        return self.why(key)

    def holds(self, key: Key, rollout: Object) -> bool:
        """Whether this rollout still waits; a changed object ends its quarantine."""
        held = self._held.get(key)
        if held is None:
            return False
        if held[0] == _mark(rollout):
            return True
        self.release(key)
        return False

    def why(self, key: Key) -> str:
        """What a rollout in quarantine waits for; "" for others."""
        held = self._held.get(key)
        if held is None:
            return ""
        return f"quarantined after {held[1]}; waits for a change of the Rollout or a person's command; abort works"

    def release(self, key: Key) -> None:
        """A person acted, or the rollout is gone."""
        if self._held.pop(key, None) is not None:
            log.info("rollout.quarantine_ended", rollout=str(key))

    def dump(
        self, key: Key, observation: Observation | None, error: BaseException, now: datetime
    ) -> Path | None:
        """Write what is needed to replay the failure; the file, None when none was written."""
        if self._directory is None:
            return None
        content = {
            "rollout": str(key),
            "at": format_time_ms(now),
            "error": traceback.format_exception(error),
            "observation": redacted(msgspec.to_builtins(_listed(observation))),
        }
        body = msgspec.json.format(msgspec.json.encode(content), indent=1)
        digest = hashlib.sha256(repr((str(key), _where(error))).encode()).hexdigest()[:12]
        path = self._directory / f"bug-{key.namespace}-{key.name}-{digest}.json"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if (
                not path.exists()
                and sum(1 for _ in self._directory.glob("bug-*.json")) >= MAX_DUMPS
            ):
                return None
            path.unlink(missing_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(body)
        except OSError as failed:
            log.warning("rollout.dump_failed", rollout=str(key), error=str(failed))
            return None
        return path


def redacted(value: Any) -> Any:
    """Decoded JSON without what may be secret: values of environment variables and of telling names."""
    if isinstance(value, list):
        return [redacted(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("kind") == "Secret":
        value = {
            name: REDACTED if name in ("data", "stringData") else item
            for name, item in value.items()
        }
    return {name: _redacted_member(name, item) for name, item in value.items()}


def _redacted_member(name: str, item: Any) -> Any:
    if name == "env" and isinstance(item, list):
        return [
            {**one, "value": REDACTED} if isinstance(one, dict) and "value" in one else one
            for one in item
        ]
    if isinstance(item, str) and any(word in name.lower() for word in _SECRET_WORDS):
        return REDACTED
    return redacted(item)


def _listed(observation: Observation | None) -> dict[str, Any]:
    """The observation with addresses as text: JSON has no other keys."""
    if observation is None:
        return {}
    plain: dict[str, Any] = msgspec.structs.asdict(observation)
    for name in ("templates", "routes"):
        plain[name] = {str(ref): obj for ref, obj in plain[name].items()}
    return plain


def _mark(rollout: Object) -> str:
    """Changes with everything of the Rollout but our own announcements, which come and go by themselves."""
    metadata, status = rollout["metadata"], dict(rollout.get("status") or {})
    status["conditions"] = [
        item for item in status.get("conditions") or () if item.get("type") != OUTBOX_CONDITION
    ]
    parts = (metadata.get("uid"), metadata.get("generation"), metadata.get("annotations"), status)
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def _where(error: BaseException) -> tuple[str, int]:
    frames = traceback.extract_tb(error.__traceback__)
    return (frames[-1].filename, frames[-1].lineno or 0) if frames else ("", 0)
