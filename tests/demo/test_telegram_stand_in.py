"""The Bot API stand-in, called by the agent's own client."""

import httpx
import pytest

from agent.demo.telegram_stand_in import telegram_running
from agent.errors import Refused, Retry
from handlers.telegram.client import Client


async def post(url: str, body: bytes) -> tuple[int, bytes]:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(url, content=body)
    return answer.status_code, answer.content


async def test_a_message_is_sent_edited_and_printed() -> None:
    async with telegram_running("1:t") as telegram:
        client = Client(post, token="1:t", chat_id="7", base_url=telegram.base_url)
        number = await client.send("<b>a &lt; b</b>")
        await client.edit(number, "done")
        await client.edit(number, "done")
        await client.send("<b>a &lt; b</b>")
    assert telegram.transcript() == "#1 (edited 1x)\n  done\n\n#2\n  a < b"
    assert telegram.calls.count("editMessageText") == 2


async def test_it_can_be_told_to_refuse() -> None:
    async with telegram_running("1:t") as telegram:
        client = Client(post, token="1:t", chat_id="7", base_url=telegram.base_url)
        telegram.refuse_next(429, "Too Many Requests: retry after 3", retry_after=3)
        with pytest.raises(Retry) as refused:
            await client.send("x")
        assert refused.value.after_seconds == 3
        telegram.refuse_next(403, "Forbidden: bot was blocked by the user")
        with pytest.raises(Refused):
            await client.send("x")
        assert telegram.messages == []


async def test_another_token_is_unauthorized() -> None:
    async with telegram_running("1:t") as telegram:
        assert (await post(f"{telegram.base_url}/bot2:x/getMe", b""))[0] == 401
        assert (await post(f"{telegram.base_url}/bot1:t/getMe", b""))[0] == 200
