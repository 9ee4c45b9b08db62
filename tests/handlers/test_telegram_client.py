"""Telegram's answers become outcomes."""

from typing import Any

import msgspec
import pytest

from agent.errors import NotFound, Refused, Retry, SerinusError, Unavailable
from handlers.telegram.client import Client

TOKEN = "123:secret"


class Api:
    """Scripted answers; keeps what was asked."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, dict[str, Any]]] = []

    async def post(self, url: str, body: bytes) -> tuple[int, bytes]:
        self.calls.append((url, msgspec.json.decode(body)))
        status, answer = self.answers.pop(0)
        return status, answer if isinstance(answer, bytes) else msgspec.json.encode(answer)

    def client(self) -> Client:
        return Client(
            self.post, token=TOKEN, chat_id="-100", thread_id=7, base_url="http://127.0.0.1:1/"
        )


def ok(message_id: int = 5) -> tuple[int, Any]:
    return 200, {"ok": True, "result": {"message_id": message_id}}


def bad(status: int, description: str, **parameters: Any) -> tuple[int, Any]:
    return status, {
        "ok": False,
        "error_code": status,
        "description": description,
        "parameters": parameters,
    }


async def test_sends_html_to_the_topic_of_the_chat() -> None:
    api = Api(ok(42))
    assert await api.client().send("<b>hi</b>", silent=True) == 42
    url, body = api.calls[0]
    assert url == f"http://127.0.0.1:1/bot{TOKEN}/sendMessage"
    assert (body["chat_id"], body["message_thread_id"], body["parse_mode"]) == ("-100", 7, "HTML")
    assert body["disable_notification"] is True


async def test_an_edit_that_changes_nothing_is_a_success() -> None:
    await Api(bad(400, "Bad Request: message is not modified")).client().edit(5, "same")


async def test_text_that_cannot_be_parsed_goes_out_plain() -> None:
    api = Api(bad(400, "Bad Request: can't parse entities: unexpected end tag"), ok())
    await api.client().send("<b>")
    assert "parse_mode" not in api.calls[1][1]


async def test_a_group_that_became_a_supergroup_is_followed() -> None:
    api = Api(bad(400, "Bad Request: group chat was upgraded", migrate_to_chat_id=-200), ok(), ok())
    client = api.client()
    await client.send("one")
    await client.send("two")
    assert [body["chat_id"] for _, body in api.calls] == ["-100", "-200", "-200"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (bad(400, "Bad Request: message to edit not found"), NotFound),
        (bad(400, "Bad Request: chat not found"), Refused),
        (bad(401, "Unauthorized"), Refused),
        (bad(403, "Forbidden: bot was kicked"), Refused),
        (bad(429, "Too Many Requests: retry after 3", retry_after=3), Retry),
        (bad(502, "Bad Gateway"), Unavailable),
        ((502, b"<html>Bad Gateway</html>"), Unavailable),
        ((200, b"<html>"), Unavailable),
    ],
    ids=["gone", "chat", "token", "kicked", "pace", "server", "HTML", "HTML with 200"],
)
async def test_trouble(answer: tuple[int, Any], error: type[SerinusError]) -> None:
    with pytest.raises(error) as raised:
        await Api(answer).client().edit(5, "text")
    assert TOKEN not in str(raised.value)
    if isinstance(raised.value, Retry):
        assert raised.value.after_seconds == 3


ENTITIES = bad(400, "Bad Request: can't parse entities: unexpected end tag")
MOVED = bad(400, "Bad Request: group chat was upgraded", migrate_to_chat_id=-200)


@pytest.mark.parametrize("troubles", [(ENTITIES, MOVED), (MOVED, ENTITIES)], ids=["tags", "chat"])
async def test_two_troubles_of_one_message_are_both_mended(
    troubles: tuple[tuple[int, Any], ...],
) -> None:
    api = Api(*troubles, ok(9))
    assert await api.client().send("<b>") == 9
    last = api.calls[-1][1]
    assert ("parse_mode" in last, last["chat_id"]) == (False, "-200")


@pytest.mark.parametrize("trouble", [ENTITIES, MOVED], ids=["tags", "chat"])
async def test_a_message_that_is_taken_in_no_form_is_refused(trouble: tuple[int, Any]) -> None:
    with pytest.raises(Refused):
        await Api(*[trouble] * 3).client().send("<b>")


@pytest.mark.parametrize("asked", ["soon", None, -5, [], 0], ids=repr)
async def test_a_wait_that_is_no_number_is_a_short_one(asked: Any) -> None:
    with pytest.raises(Retry) as later:
        await Api(bad(429, "Too Many Requests", retry_after=asked)).client().send("x")
    assert later.value.after_seconds == 1


async def test_a_wait_is_bounded() -> None:
    with pytest.raises(Retry) as later:
        await Api(bad(429, "Too Many Requests", retry_after=10**9)).client().send("x")
    assert later.value.after_seconds == 300


@pytest.mark.parametrize("result", [True, [], {}, {"message_id": "x"}], ids=repr)
async def test_an_answer_without_an_id_is_a_message_without_one(result: Any) -> None:
    assert await Api((200, {"ok": True, "result": result})).client().send("x") == 0


@pytest.mark.parametrize("answer", [b"[]", b"null", b'{"ok": 1}', b'{"ok": false}', b""], ids=repr)
async def test_an_answer_that_is_no_bot_api_s_is_later(answer: bytes) -> None:
    with pytest.raises(Unavailable):
        await Api((200, answer)).client().send("x")


async def test_the_token_is_not_shown_even_when_the_server_echoes_it() -> None:
    with pytest.raises(Refused) as refused:
        await Api(bad(404, f"Not Found: /bot{TOKEN}/sendMessage")).client().send("x")
    assert TOKEN not in str(refused.value)
    assert TOKEN not in repr(Api().client())
