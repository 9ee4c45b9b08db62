"""Telegram's Bot API on loopback, as far as the agent uses it, with a chat that can be printed."""

import contextlib
import html
import re
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from agent.demo.loopback import Answer, Request, serving

MAX_TEXT = 4096
_TAG = re.compile(r"</?[a-z][^>]*>")


class Message(msgspec.Struct):
    """One message of the chat: what stands there now, and how often it was edited."""

    message_id: int
    chat_id: str
    text: str
    edits: int = 0
    buttons: tuple[str, ...] = ()


class Telegram:
    """The bot's side of one server; made by `telegram_running`.

    Attributes:
        base_url: what the agent is given instead of https://api.telegram.org.
        messages: the chat, oldest first.
        calls: methods that were called, in order.
    """

    def __init__(self, token: str) -> None:
        self.base_url = ""
        self.messages: list[Message] = []
        self.calls: list[str] = []
        self.answered_queries: list[dict[str, Any]] = []
        self._token = token
        self._faults: deque[Answer] = deque()

    def refuse_next(self, status: int, description: str, *, retry_after: int = 0) -> None:
        """Answer the next call with an error: 429 with `retry_after` seconds, 400, 403, 5xx."""
        parameters = {"parameters": {"retry_after": retry_after}} if retry_after else {}
        self._faults.append(_refusal(status, description, parameters))

    def transcript(self) -> str:
        """The chat as a reader sees it."""
        return "\n\n".join(_printed(message) for message in self.messages)

    def answer(self, request: Request) -> Answer:
        """One call of the Bot API: /bot<token>/<method> with a JSON body."""
        token, _, method = request.path.removeprefix("/bot").partition("/")
        if token != self._token:
            return _refusal(401, "Unauthorized")
        self.calls.append(method)
        if self._faults:
            return self._faults.popleft()
        try:
            body = msgspec.json.decode(request.body or b"{}", type=dict[str, Any])
        except msgspec.DecodeError:
            return _refusal(400, "Bad Request: can't parse the body")
        methods = {
            "getMe": self._get_me,
            "sendMessage": self._send,
            "editMessageText": self._edit,
            "answerCallbackQuery": self._answer_query,
        }
        if method not in methods:
            return _refusal(404, "Not Found")
        return methods[method](body)

    def _get_me(self, _body: Mapping[str, Any]) -> Answer:
        return _result(
            {"id": 1, "is_bot": True, "first_name": "Serinus", "username": "serinus_bot"}
        )

    def _send(self, body: Mapping[str, Any]) -> Answer:
        problem = _problem(body)
        if problem:
            return _refusal(400, problem)
        message = Message(
            len(self.messages) + 1, str(body["chat_id"]), body["text"], buttons=_buttons(body)
        )
        self.messages.append(message)
        return _result(_as_telegram(message))

    def _edit(self, body: Mapping[str, Any]) -> Answer:
        problem = _problem(body)
        if problem:
            return _refusal(400, problem)
        for message in self.messages:
            if message.message_id == body.get("message_id"):
                break
        else:
            return _refusal(400, "Bad Request: message to edit not found")
        if (message.text, message.buttons) == (body["text"], _buttons(body)):
            return _refusal(
                400,
                "Bad Request: message is not modified: specified new message content and reply "
                "markup are exactly the same as a current content and reply markup of the message",
            )
        message.text, message.buttons = body["text"], _buttons(body)
        message.edits += 1
        return _result(_as_telegram(message))

    def _answer_query(self, body: Mapping[str, Any]) -> Answer:
        self.answered_queries.append(dict(body))
        return _result(True)


@contextlib.asynccontextmanager
async def telegram_running(token: str) -> AsyncIterator[Telegram]:
    """Serve the stand-in on a free loopback port while the context is open."""
    telegram = Telegram(token)
    async with serving(telegram.answer) as (host, port):
        telegram.base_url = f"http://{host}:{port}"
        yield telegram


def _problem(body: Mapping[str, Any]) -> str:
    text = body.get("text")
    if not body.get("chat_id"):
        return "Bad Request: chat_id is empty"
    if not isinstance(text, str) or not text:
        return "Bad Request: message text is empty"
    if len(text) > MAX_TEXT:
        return "Bad Request: message is too long"
    return ""


def _buttons(body: Mapping[str, Any]) -> tuple[str, ...]:
    markup = body.get("reply_markup") or {}
    rows = markup.get("inline_keyboard") or []
    return tuple(button.get("text", "") for row in rows for button in row)


def _as_telegram(message: Message) -> dict[str, Any]:
    return {
        "message_id": message.message_id,
        "chat": {"id": message.chat_id, "type": "group"},
        "date": 0,
        "text": message.text,
    }


def _result(result: Any) -> Answer:
    return _json(200, {"ok": True, "result": result})


def _refusal(status: int, description: str, more: Mapping[str, Any] | None = None) -> Answer:
    body = {"ok": False, "error_code": status, "description": description, **(more or {})}
    return _json(status, body)


def _json(status: int, body: Mapping[str, Any]) -> Answer:
    return Answer(status, msgspec.json.encode(body), content_type="application/json")


def _printed(message: Message) -> str:
    text = html.unescape(_TAG.sub("", message.text))
    edited = f" (edited {message.edits}x)" if message.edits else ""
    lines = [f"#{message.message_id}{edited}", *(f"  {line}" for line in text.splitlines())]
    if message.buttons:
        lines.append("  " + " ".join(f"[{button}]" for button in message.buttons))
    return "\n".join(lines)
