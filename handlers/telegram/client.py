"""Telegram's Bot API: the two calls we need, with its answers as outcomes.

Descriptions of errors are not a stable API, yet two have no code of their own: an edit that changes
nothing (success for us) and a message that is gone (send a new one).
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from agent.api.decode import parse_json
from agent.errors import NotFound, Refused, Retry, Unavailable

Post = Callable[[str, bytes], Awaitable[tuple[int, bytes]]]
"""POST a JSON body to a URL: status and body. Raises Unavailable when there was no answer in time."""

MAX_RETRY_AFTER: Final = 300.0
MAX_FORMS: Final = 3
"""As it is, as plain text, and to the chat's new id."""


class Client:
    """A bot in one chat.

    Args:
        token: the bot's token; it is part of every URL and so must never be logged.
        thread_id: topic of a forum, 0 for none.
    """

    def __init__(
        self,
        post: Post,
        *,
        token: str,
        chat_id: str,
        thread_id: int = 0,
        base_url: str = "https://api.telegram.org",
    ) -> None:
        self._post = post
        self._url = f"{base_url.rstrip('/')}/bot{token}/"
        self._token = token
        self._chat_id = chat_id
        self._thread_id = thread_id

    def __repr__(self) -> str:
        return f"Client(chat_id={self._chat_id!r})"

    async def send(self, text: str, *, silent: bool = False) -> int:
        """Send HTML text; the id of the message.

        Raises Retry (429, with Telegram's own delay), Unavailable (5xx, no answer), Refused (the token,
        the chat: nothing that trying again would mend).
        """
        body: dict[str, Any] = {"disable_notification": silent}
        if self._thread_id:
            body["message_thread_id"] = self._thread_id
        result = await self._call("sendMessage", text, body)
        message_id = result.get("message_id")
        return message_id if isinstance(message_id, int) else 0

    async def edit(self, message_id: int, text: str) -> None:
        """Replace a message's text. Raises NotFound when the message is gone; else as `send`."""
        await self._call("editMessageText", text, {"message_id": message_id})

    async def _call(self, method: str, text: str, body: dict[str, Any]) -> dict[str, Any]:
        full: dict[str, Any] = {
            "chat_id": self._chat_id,
            "text": text,
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": True},
            **body,
        }
        for _ in range(MAX_FORMS):
            try:
                return await self._request(method, full)
            except _CannotParse:
                # Our own escaping failed; the words matter more than the bold.
                full.pop("parse_mode", None)
            except _Migrated as moved:
                self._chat_id = full["chat_id"] = moved.chat_id
        raise Refused("Telegram takes the message in no form", field="telegram")

    async def _request(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        status, answer = await self._post(self._url + method, msgspec.json.encode(body))
        try:
            decoded: Any = parse_json(answer)
        except Refused:
            decoded = {}
        if not isinstance(decoded, dict):
            decoded = {}
        if status == 200 and decoded.get("ok") is True:
            result = decoded.get("result")
            return result if isinstance(result, dict) else {}
        return self._trouble(status, decoded)

    def _trouble(self, status: int, answer: dict[str, Any]) -> dict[str, Any]:
        description = str(answer.get("description", "")).replace(self._token, "<token>")[:300]
        found = answer.get("parameters")
        parameters: dict[str, Any] = found if isinstance(found, dict) else {}
        if status == 429:
            asked = parameters.get("retry_after")
            wait = asked if isinstance(asked, int | float) and asked > 0 else 1.0
            raise Retry(
                f"Telegram asks to wait: {description}", after_seconds=min(MAX_RETRY_AFTER, wait)
            )
        lowered = description.lower()
        if status == 400:
            if "not modified" in lowered:
                return {}
            if "parse entities" in lowered:
                raise _CannotParse(description)
            if "message to edit not found" in lowered or "message can't be edited" in lowered:
                raise NotFound(description)
            if parameters.get("migrate_to_chat_id"):
                raise _Migrated(str(parameters["migrate_to_chat_id"]))
        if 400 <= status < 500:
            raise Refused(
                f"Telegram answered {status}: {description or 'no description'}", field="telegram"
            )
        raise Unavailable(f"Telegram answered {status}: {description or 'no description'}")


class _CannotParse(Exception):
    pass


class _Migrated(Exception):
    def __init__(self, chat_id: str) -> None:
        super().__init__(chat_id)
        self.chat_id = chat_id
