"""How the adapter treats an API server that is slow, overloaded, gone or odd: a scripted one on loopback."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from agent.clock import SystemClock
from agent.cluster import transport
from agent.cluster.kubernetes import KubernetesCluster, connect
from agent.cluster.local.kubeconfig import write_kubeconfig
from agent.cluster.port import KINDS
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
from tests.cluster.scripted import OBJECT, Server, answer, silence

CONFIG_MAP = KINDS["ConfigMap"]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def cluster(server: Server, tmp_path: Path) -> AsyncIterator[KubernetesCluster]:
    async with server.connected(tmp_path) as made:
        yield made


async def test_an_overloaded_server_is_asked_again_when_it_says(
    server: Server, cluster: KubernetesCluster
) -> None:
    server.script = [answer(429, {}, **{"Retry-After": "1"}), answer(503, {}), answer()]
    started = asyncio.get_running_loop().time()
    assert (await cluster.get(CONFIG_MAP, "default", "a"))["metadata"] == OBJECT["metadata"]
    assert asyncio.get_running_loop().time() - started >= 1
    assert len(server.seen) == 3


async def test_it_gives_up_and_hands_on_a_wait_that_is_longer_than_its_deadline(
    server: Server, cluster: KubernetesCluster
) -> None:
    server.script = [answer(503, {}, **{"Retry-After": "120"})]
    with pytest.raises(Unavailable) as raised:
        await cluster.get(CONFIG_MAP, "default", "a")
    assert raised.value.retry_after_seconds == 120
    assert len(server.seen) == 1


async def test_an_urgent_write_that_hangs_is_sent_again_over_a_new_connection(
    server: Server, cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "URGENT_SECONDS", 0.3)
    both = asyncio.Barrier(2)

    async def together(_request: Request) -> Response:
        await both.wait()
        return JSONResponse(OBJECT)

    # Two connections are open and idle: the second try must take neither.
    server.script = [together]
    one = cluster.get(CONFIG_MAP, "default", "a", urgent=True)
    await asyncio.gather(one, cluster.get(CONFIG_MAP, "default", "b", urgent=True))
    patch = [{"op": "replace", "path": "/data/x", "value": "2"}]
    for _ in range(2):
        server.script = [silence, answer()]
        before = set(server.ports)
        await cluster.json_patch(CONFIG_MAP, "default", "a", patch, urgent=True)
        hung, again = server.ports[-2:]
        assert hung in before
        assert again not in before


async def test_an_urgent_call_fails_within_two_short_deadlines(
    server: Server, cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "URGENT_SECONDS", 0.1)
    server.script = [silence]
    with pytest.raises(Unavailable):
        await cluster.get(CONFIG_MAP, "default", "a", urgent=True)
    assert len(server.seen) == 2


async def test_a_create_is_not_repeated_when_its_outcome_is_unknown(
    server: Server, cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "TRY_SECONDS", 0.1)
    server.script = [silence]
    with pytest.raises(Unavailable):
        await cluster.create(CONFIG_MAP, {"metadata": {"name": "a"}})
    assert len(server.seen) == 1
    server.script = [answer(429, {}), answer(201)]
    await cluster.create(CONFIG_MAP, {"metadata": {"name": "a"}})
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("operations", "requests"),
    [
        pytest.param([{"op": "add", "path": "/l/-", "value": 1}], 1, id="appending is not"),
        pytest.param([{"op": "replace", "path": "/a", "value": 1}], 2, id="replacing is"),
        pytest.param(
            [{"op": "test", "path": "/a", "value": 1}, {"op": "remove", "path": "/a"}],
            2,
            id="what is guarded by a test is",
        ),
    ],
)
async def test_which_json_patches_are_repeated(
    server: Server, cluster: KubernetesCluster, operations: list[dict[str, Any]], requests: int
) -> None:
    server.script = [answer(500, {}), answer()]
    if requests == 1:
        with pytest.raises(Unavailable):
            await cluster.json_patch(CONFIG_MAP, "default", "a", operations)
    else:
        await cluster.json_patch(CONFIG_MAP, "default", "a", operations)
    assert len(server.seen) == requests


async def test_a_write_that_hangs_gets_the_time_of_one_object_and_not_of_a_list(
    server: Server, cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "TRY_SECONDS", 0.1)
    server.script = [silence, answer()]
    await cluster.merge_patch(CONFIG_MAP, "default", "a", {"data": {"x": "1"}})
    assert len(server.seen) == 2


async def test_every_write_bears_our_name(server: Server, cluster: KubernetesCluster) -> None:
    server.script = [answer()]
    await cluster.create(CONFIG_MAP, {"metadata": {"name": "a"}})
    await cluster.merge_patch(CONFIG_MAP, "default", "a", {"data": {"x": "1"}})
    await cluster.merge_patch(CONFIG_MAP, "default", "a", {"status": {}}, status=True)
    await cluster.json_patch(CONFIG_MAP, "default", "a", [{"op": "remove", "path": "/data/x"}])
    assert [seen.query_params.get("fieldManager") for seen in server.seen] == ["serinus"] * 4


async def test_a_delete_that_went_through_unheard_is_done(
    server: Server, cluster: KubernetesCluster
) -> None:
    server.script = [answer(500, {}), answer(404, {"reason": "NotFound"})]
    await cluster.delete(CONFIG_MAP, "default", "a")
    with pytest.raises(NotFound):
        await cluster.delete(CONFIG_MAP, "default", "a")


async def test_unknown_credentials_are_read_again_once(
    server: Server, cluster: KubernetesCluster, tmp_path: Path
) -> None:
    async def by_token(request: Request) -> Response:
        known = request.headers["authorization"] == "Bearer new"
        return JSONResponse(OBJECT if known else {}, 200 if known else 401)

    server.script = [by_token]
    text = (tmp_path / "k").read_text()
    (tmp_path / "k").write_text(text.replace("token: t", "token: new"))
    await cluster.get(CONFIG_MAP, "default", "a")
    assert len(server.seen) == 2
    server.script = [answer(401, {})]
    with pytest.raises(Forbidden):
        await cluster.get(CONFIG_MAP, "default", "a")
    assert len(server.seen) == 3


async def test_the_servers_clock_is_compared_with_ours(server: Server, tmp_path: Path) -> None:
    class Ahead(SystemClock):
        def now(self) -> datetime:
            return super().now() + timedelta(hours=1)

    server.script = [answer()]
    for clock, skew in ((SystemClock(), 0), (Ahead(), -3600)):
        async with server.connected(tmp_path, clock) as cluster:
            await cluster.get(CONFIG_MAP, "default", "a")
            assert abs(cluster.skew_seconds - skew) < 300


async def test_a_list_whose_pages_expired_begins_anew(
    server: Server, cluster: KubernetesCluster
) -> None:
    first = {"metadata": {"resourceVersion": "5", "continue": "x"}, "items": [OBJECT]}
    whole = {"metadata": {"resourceVersion": "9"}, "items": [OBJECT, OBJECT]}
    server.script = [answer(200, first), answer(410, {"reason": "Expired"}), answer(200, whole)]
    listing = await cluster.list(CONFIG_MAP)
    assert (listing.resource_version, len(listing.items)) == ("9", 2)
    assert all(item["kind"] == "ConfigMap" for item in listing.items)


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        pytest.param(
            [b'{"type":"ERROR","object":{"code":410,"message":"old"}}\n'], Gone, id="an old version"
        ),
        pytest.param([b"nonsense\n"], Unavailable, id="no JSON"),
        pytest.param([b'{"type":"ADDED"}\n'], Unavailable, id="no object"),
        pytest.param([b'{"type":"ERROR","object":{"code":500}}\n'], Unavailable, id="an error"),
    ],
)
async def test_a_watch_that_goes_wrong_says_so(
    server: Server, cluster: KubernetesCluster, lines: list[bytes], error: type[Exception]
) -> None:
    async def stream(_request: Request) -> Response:
        return StreamingResponse(_sent(lines), media_type="application/json")

    server.script = [stream]
    with pytest.raises(error):
        await anext(aiter(cluster.watch(CONFIG_MAP, resource_version="1")))


async def test_a_version_that_is_not_reached_is_gone_before_it_is_watched(
    server: Server, cluster: KubernetesCluster
) -> None:
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    server.reached = answer(
        504, {"reason": "Timeout", "message": "Too large", "details": {"causes": causes}}
    )
    with pytest.raises(Gone, match="Too large"):
        await anext(aiter(cluster.watch(CONFIG_MAP, resource_version="99")))
    assert server.seen == []


async def test_an_event_may_come_in_pieces_and_an_unfinished_one_is_dropped(
    server: Server, cluster: KubernetesCluster
) -> None:
    line = msgspec.json.encode({"type": "ADDED", "object": OBJECT}) + b"\n"

    async def stream(_request: Request) -> Response:
        return StreamingResponse(_sent([line[:10], line[10:] + line, line[:5]]))

    server.script = [stream]
    events = [event async for event in cluster.watch(CONFIG_MAP, resource_version="1")]
    assert [event.type for event in events] == ["ADDED", "ADDED"]
    assert server.seen[0].query_params["allowWatchBookmarks"] == "true"


async def test_an_endless_line_does_not_fill_the_memory(
    server: Server, cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.cluster.kubernetes.MAX_LINE", 1000)

    async def stream(_request: Request) -> Response:
        return StreamingResponse(_sent([b"x" * 500] * 10))

    server.script = [stream]
    with pytest.raises(Unavailable, match="longer than"):
        await anext(aiter(cluster.watch(CONFIG_MAP, resource_version="1")))


async def _sent(lines: list[bytes]) -> AsyncIterator[bytes]:
    for line in lines:
        yield line
        await asyncio.sleep(0)


async def test_a_kind_that_is_not_served_is_not_found_and_asked_for_again(
    server: Server, cluster: KubernetesCluster
) -> None:
    server.script = [answer(404, {})]
    with pytest.raises(NotFound, match="does not serve rollouts"):
        await cluster.get(KINDS["Rollout"], "default", "r")
    server.script = [answer(200, {"resources": [{"name": "rollouts"}]}), answer()]
    await cluster.get(KINDS["Rollout"], "default", "r")


async def test_without_a_server_every_call_is_unavailable(tmp_path: Path) -> None:
    write_kubeconfig(tmp_path / "k", server="http://127.0.0.1:1", token="t")
    cluster = await connect(SystemClock(), kubeconfig=tmp_path / "k")
    with pytest.raises(Unavailable):
        await cluster.get(CONFIG_MAP, "default", "a", urgent=True)
    await cluster.aclose()


@pytest.mark.parametrize("content", [None, "nonsense: ["], ids=["no file", "no YAML"])
async def test_a_kubeconfig_that_cannot_be_used_is_invalid_and_named(
    tmp_path: Path, content: str | None
) -> None:
    if content:
        (tmp_path / "k").write_text(content)
    with pytest.raises(Invalid, match=r"kubeconfig .*k"):
        await connect(SystemClock(), kubeconfig=tmp_path / "k")


@pytest.mark.parametrize(
    ("status", "body", "tested", "error"),
    [
        (409, {"reason": "AlreadyExists"}, False, AlreadyExists),
        (409, {"reason": "Conflict"}, False, Conflict),
        (422, {"reason": "Invalid", "details": {}}, True, Conflict),
        (422, {"reason": "Invalid", "details": {}}, False, Invalid),
        (422, {"reason": "Invalid", "details": {"name": "a", "causes": [{}]}}, True, Invalid),
        (400, {}, False, Invalid),
        (401, {}, False, Forbidden),
        (403, {}, False, Forbidden),
        (404, {}, False, NotFound),
        (410, {}, False, Gone),
        (415, {}, False, Invalid),
        (429, {}, False, Unavailable),
        (500, {}, False, Unavailable),
        (504, {}, False, Unavailable),
        (302, {}, False, Unavailable),
    ],
)
def test_what_an_answer_means(
    status: int, body: dict[str, Any], tested: bool, error: type[SerinusError]
) -> None:
    made = transport.error_of(status, msgspec.json.encode(body), {}, tested=tested)
    assert isinstance(made, error)
    assert isinstance(transport.error_of(status, b"<html>", {}), SerinusError)
