"""Connections to an API server: budgets that do not wait for each other, cuts, retries, credentials."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from agent.clock import SystemClock
from agent.cluster import kubernetes, transport
from agent.cluster.kubernetes import KubernetesCluster, connect
from agent.cluster.local.kubeconfig import write_kubeconfig
from agent.cluster.port import KINDS
from agent.errors import Invalid, SerinusError, Unavailable
from tests.cluster.scripted import OBJECT, Server, answer, silence

CONFIG_MAP = KINDS["ConfigMap"]
IN_CLUSTER = "kubernetes_asyncio.config.incluster_config"


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def cluster(server: Server, tmp_path: Path) -> AsyncIterator[KubernetesCluster]:
    async with server.connected(tmp_path) as made:
        yield made


async def test_what_is_urgent_waits_for_nothing_that_is_routine(
    server: Server, cluster: KubernetesCluster
) -> None:
    """Every routine connection hangs, and as many requests again wait for one."""
    hanging = asyncio.Event()
    many = 2 * kubernetes.ROUTINE_CONNECTIONS

    async def hang_unless_urgent(request: Request) -> Response:
        if request.url.path.endswith("/urgent"):
            return JSONResponse(OBJECT)
        waiting.append(request)
        if len(waiting) == kubernetes.ROUTINE_CONNECTIONS:
            hanging.set()
        return await silence(request)

    waiting: list[Request] = []
    server.script = [hang_unless_urgent]
    routine = [
        asyncio.create_task(cluster.get(CONFIG_MAP, "default", str(number)))
        for number in range(many)
    ]
    try:
        async with asyncio.timeout(20):
            await hanging.wait()
            patch = [{"op": "replace", "path": "/data/x", "value": "2"}]
            await cluster.json_patch(CONFIG_MAP, "default", "urgent", patch, urgent=True)
            await cluster.merge_patch(CONFIG_MAP, "default", "urgent", {}, urgent=True)
            await cluster.get(CONFIG_MAP, "default", "urgent", urgent=True)
        assert len(waiting) == kubernetes.ROUTINE_CONNECTIONS, "the rest waits for a connection"
        urgent = [seen for seen in server.seen if seen.url.path.endswith("/urgent")]
        assert [seen.headers.get("connection") for seen in urgent] == [None] * 3, "at the first try"
        assert not any(task.done() for task in routine)
    finally:
        for task in routine:
            task.cancel()
        await asyncio.gather(*routine, return_exceptions=True)


@pytest.mark.parametrize("status", [400, 403, 404, 409, 410, 422])
async def test_what_will_not_become_another_answer_is_asked_once(
    server: Server, cluster: KubernetesCluster, status: int
) -> None:
    server.script = [answer(status, {"message": "no"}), answer()]
    with pytest.raises(SerinusError, match="no"):
        await cluster.merge_patch(CONFIG_MAP, "default", "a", {"data": {}})
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
async def test_what_may_become_another_answer_is_asked_some_times_with_random_pauses(
    server: Server, cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    ceilings: list[tuple[float, float]] = []

    def no_pause(low: float, high: float) -> float:
        ceilings.append((low, high))
        return 0.0

    monkeypatch.setattr("agent.cluster.transport.random.uniform", no_pause)
    server.script = [answer(status, {})]
    with pytest.raises(Unavailable):
        await cluster.get(CONFIG_MAP, "default", "a")
    assert len(server.seen) == transport.TRIES
    # Full jitter: from nothing up to a bound that doubles. (The last is drawn, and not waited for.)
    assert [low for low, _ in ceilings] == [0] * transport.TRIES
    assert [high for _, high in ceilings] == pytest.approx([0.2, 0.4, 0.8, 1.6])


class Cut:
    """A server that speaks HTTP by hand, and hangs up where it should not."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ")[1].decode()
        self.asked.append(path)
        if path.endswith("/api/v1"):
            body = msgspec.json.encode({"resources": [{"name": "configmaps"}]})
            writer.write(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
                + body
            )
        else:
            writer.write(self.answers.pop(0))
        await writer.drain()
        writer.close()
        await writer.wait_closed()


EVENT = msgspec.json.encode({"type": "ADDED", "object": OBJECT}) + b"\n"
WHOLE = msgspec.json.encode(OBJECT)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"


async def test_a_watch_that_is_cut_in_a_chunk_is_unavailable_after_its_whole_events(
    tmp_path: Path,
) -> None:
    """Not ClientPayloadError, which no loop of ours would understand."""
    piece = EVENT + EVENT[:10]
    cut = Cut(CHUNKED + b"%x\r\n" % len(piece) + piece + b"\r\nff\r\n{")
    async with await asyncio.start_server(cut, "127.0.0.1", 0) as listening:
        cluster = await at(listening, tmp_path)
        watching = aiter(cluster.watch(CONFIG_MAP, resource_version=""))
        assert (await anext(watching)).type == "ADDED"
        with pytest.raises(Unavailable, match="watch of configmaps ended"):
            await anext(watching)
        await cluster.aclose()


async def test_an_answer_that_is_cut_is_asked_for_again(tmp_path: Path) -> None:
    cut = Cut(b"", LONG % 1000 + WHOLE, LONG % len(WHOLE) + WHOLE)
    async with await asyncio.start_server(cut, "127.0.0.1", 0) as listening:
        cluster = await at(listening, tmp_path)
        assert (await cluster.get(CONFIG_MAP, "default", "a"))["metadata"] == OBJECT["metadata"]
        assert len(cut.asked) == 4, "discovery, no answer, half an answer, an answer"
        await cluster.aclose()


async def at(listening: asyncio.Server, path: Path) -> KubernetesCluster:
    port = listening.sockets[0].getsockname()[1]
    write_kubeconfig(path / "k", server=f"http://127.0.0.1:{port}", token="t")
    return await connect(SystemClock(), kubeconfig=path / "k")


async def test_a_watch_that_is_not_opened_does_not_wait_for_ever(
    server: Server, cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes, "WATCH_OPEN_SECONDS", 0.1)
    server.script = [silence]
    with pytest.raises(Unavailable, match="no answer in"):
        await anext(aiter(cluster.watch(CONFIG_MAP, resource_version="1")))


async def test_a_watch_is_asked_for_with_an_end_of_its_own(
    server: Server, cluster: KubernetesCluster
) -> None:
    """Minutes, but not the same for all; without one a dead connection would be listened to for ever."""
    server.script = [answer()]
    asked = set()
    for _ in range(8):
        # A last line without its end is no event.
        assert [event async for event in cluster.watch(CONFIG_MAP, resource_version="1")] == []
        asked.add(int(server.seen[-1].query_params["timeoutSeconds"]))
    assert all(240 <= seconds <= 360 for seconds in asked)
    assert len(asked) > 1


async def test_every_body_says_what_it_is(server: Server, cluster: KubernetesCluster) -> None:
    """The library calls a dict a JSON patch."""
    server.script = [answer()]
    await cluster.create(CONFIG_MAP, {"metadata": {"name": "a"}})
    await cluster.merge_patch(CONFIG_MAP, "default", "a", {"data": {}})
    await cluster.json_patch(CONFIG_MAP, "default", "a", [{"op": "remove", "path": "/data"}])
    await cluster.delete(CONFIG_MAP, "default", "a")
    assert [seen.headers["content-type"] for seen in server.seen] == [
        "application/json",
        "application/merge-patch+json",
        "application/json-patch+json",
        "application/json",
    ]


async def test_no_proxy_of_the_environment_stands_before_loopback(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server.script = [answer()]
    async with server.connected(tmp_path) as cluster:
        await cluster.get(CONFIG_MAP, "default", "a")


def test_who_needs_no_api_server_does_not_pay_for_the_library() -> None:
    script = "import sys, agent.cluster.kubernetes, agent.app; print('kubernetes_asyncio' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stdout.strip() == "False"


# In a pod.


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a service account."""
    (tmp_path / "token").write_text("first")
    (tmp_path / "ca.crt").write_text("any")
    monkeypatch.setattr(f"{IN_CLUSTER}.SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(f"{IN_CLUSTER}.SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return tmp_path


async def token_of(configuration: Any) -> str:
    """What a request would send."""
    token: str = await configuration.get_api_key_with_prefix("BearerToken")
    return token


async def loaded() -> Any:
    from kubernetes_asyncio.client import Configuration

    configuration: Any = type.__call__(Configuration)
    await kubernetes._load(configuration, None, "")
    return configuration


async def test_a_pod_is_its_service_account_whose_token_is_read_anew(
    pod: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{IN_CLUSTER}.TOKEN_REFRESH_PERIOD", timedelta(0))
    configuration = await loaded()
    assert configuration.host == "https://[fd00::1]:443"
    assert configuration.ssl_ca_cert == str(pod / "ca.crt")
    assert await token_of(configuration) == "Bearer first"
    (pod / "token").write_text("second")
    assert await token_of(configuration) == "Bearer second"


async def test_a_token_is_not_read_for_each_request_but_after_a_401(pod: Path) -> None:
    configuration = await loaded()
    (pod / "token").write_text("second")
    assert await token_of(configuration) == "Bearer first"
    await kubernetes._load(configuration, None, "")
    assert await token_of(configuration) == "Bearer second"


@pytest.mark.parametrize("missing", ["token", "ca.crt"])
async def test_a_pod_without_its_account_says_what_to_set(pod: Path, missing: str) -> None:
    (pod / missing).unlink()
    with pytest.raises(Invalid, match=r"no pod: .*set cluster\.kubeconfig"):
        await connect(SystemClock())


@pytest.mark.parametrize("how", ["empty", "gone"])
async def test_a_token_that_cannot_be_read_in_the_middle_of_a_request_is_later(
    pod: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """What the library raises then is none of our errors, and would end the watch of everything."""
    monkeypatch.setattr(f"{IN_CLUSTER}.TOKEN_REFRESH_PERIOD", timedelta(0))
    configuration = await loaded()
    (pod / "token").write_text("") if how == "empty" else (pod / "token").unlink()
    with pytest.raises(Unavailable, match="credentials cannot be read"):
        await token_of(configuration)
    (pod / "token").write_text("second")
    assert await token_of(configuration) == "Bearer second"
