"""What a local cluster keeps on disk, whatever happens to its process."""

import asyncio
import resource
import signal
import sys
from pathlib import Path

import msgspec
import pytest

from agent.api.meta import Object
from agent.clock import SystemClock
from agent.cluster.local.snapshot import Snapshot
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS
from agent.errors import Gone, Invalid, Unavailable

CONFIG_MAP = KINDS["ConfigMap"]


def a_config_map(name: str, value: str = "1") -> Object:
    return {"metadata": {"name": name}, "data": {"a": value}}


def opened(directory: Path, compact_after: int = 5_000) -> LocalCluster:
    return LocalCluster(SystemClock(), snapshot=Snapshot(directory, compact_after=compact_after))


async def test_objects_and_the_version_counter_survive_a_restart(tmp_path: Path) -> None:
    first = opened(tmp_path)
    kept = await first.create(CONFIG_MAP, a_config_map("kept"))
    await first.create(CONFIG_MAP, a_config_map("gone"))
    await first.delete(CONFIG_MAP, "default", "gone")
    version = first.now_version()
    await first.aclose()
    second = opened(tmp_path)
    assert await second.get(CONFIG_MAP, "default", "kept") == kept
    assert second.peek("ConfigMap", "default", "gone") is None
    # The newest version was that of the deletion: giving it twice would confuse every cache.
    assert second.now_version() == version
    new = await second.create(CONFIG_MAP, a_config_map("new"))
    assert int(new["metadata"]["resourceVersion"]) == version + 1
    await second.aclose()


async def test_a_watch_from_before_the_restart_is_gone(tmp_path: Path) -> None:
    first = opened(tmp_path)
    await first.create(CONFIG_MAP, a_config_map("a"))
    await first.aclose()
    second = opened(tmp_path)
    with pytest.raises(Gone):
        await anext(second.watch(CONFIG_MAP, resource_version="1"))
    await second.aclose()


async def test_owners_are_known_after_a_restart(tmp_path: Path) -> None:
    first = opened(tmp_path)
    owner = await first.create(CONFIG_MAP, a_config_map("owner"))
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
    }
    owned = {"metadata": {"name": "owned", "ownerReferences": [reference]}}
    await first.create(CONFIG_MAP, owned)
    await first.aclose()
    second = opened(tmp_path)
    await second.delete(CONFIG_MAP, "default", "owner")
    assert second.peek("ConfigMap", "default", "owned") is None
    await second.aclose()


async def test_a_line_that_was_cut_short_is_dropped(tmp_path: Path) -> None:
    first = opened(tmp_path)
    await first.create(CONFIG_MAP, a_config_map("a"))
    await first.aclose()
    with (tmp_path / "objects.jsonl").open("ab") as file:
        file.write(b'[9,"ConfigMap","default","b",{"metadata":{"na')
    second = opened(tmp_path)
    assert [obj["metadata"]["name"] for obj in second.peek_all("ConfigMap")] == ["a"]
    await second.create(CONFIG_MAP, a_config_map("c"))
    await second.aclose()
    third = opened(tmp_path)
    assert len(list(third.peek_all("ConfigMap"))) == 2
    await third.aclose()


def test_damage_in_the_middle_is_named_and_not_skipped(tmp_path: Path) -> None:
    (tmp_path / "objects.jsonl").write_bytes(b'[1,"","","",null]\nnonsense\n[2,"","","",null]\n')
    with pytest.raises(Invalid, match=r"objects\.jsonl:2: damaged"):
        Snapshot(tmp_path)


def test_two_processes_cannot_share_a_directory(tmp_path: Path) -> None:
    first = Snapshot(tmp_path)
    with pytest.raises(Invalid, match="in use by another process"):
        Snapshot(tmp_path)
    first.close()
    Snapshot(tmp_path).close()


async def test_the_log_does_not_grow_for_ever(tmp_path: Path) -> None:
    store = opened(tmp_path, compact_after=20)
    await store.create(CONFIG_MAP, a_config_map("a"))
    for value in range(200):
        await store.merge_patch(CONFIG_MAP, "default", "a", {"data": {"a": str(value)}})
    assert len((tmp_path / "objects.jsonl").read_bytes().splitlines()) <= 24
    await store.aclose()
    again = opened(tmp_path)
    assert (await again.get(CONFIG_MAP, "default", "a"))["data"] == {"a": "199"}
    await again.aclose()


async def test_a_write_that_the_disk_refuses_has_not_happened(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await store.create(CONFIG_MAP, a_config_map("a"))
    version = store.now_version()
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, ((tmp_path / "objects.jsonl").stat().st_size + 20, limits[1])
    )
    try:
        with pytest.raises(Unavailable, match=r"objects\.jsonl"):
            await store.create(CONFIG_MAP, a_config_map("b"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (store.peek("ConfigMap", "default", "b"), store.now_version()) == (None, version)
    await store.create(CONFIG_MAP, a_config_map("c"))
    # As a kill -9 would leave it: the half line of "b" must not have spoilt that of "c".
    lines = (tmp_path / "objects.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line)[3] for line in lines] == ["", "a", "c"]
    await store.aclose()
    again = opened(tmp_path)
    assert [obj["metadata"]["name"] for obj in again.peek_all("ConfigMap")] == ["a", "c"]
    await again.aclose()


WRITER = """
import asyncio, sys
from pathlib import Path
from agent.clock import SystemClock
from agent.cluster.local.snapshot import Snapshot
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS

async def main():
    store = LocalCluster(SystemClock(), snapshot=Snapshot(Path(sys.argv[1]), compact_after=7))
    number = 0
    while True:
        await store.create(KINDS["ConfigMap"], {"metadata": {"name": f"c-{number}"}})
        print(number, flush=True)
        number += 1

asyncio.run(main())
"""


async def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    answered = -1
    async with asyncio.timeout(30):
        while answered < 100:
            answered = int(await process.stdout.readline())
        process.kill()
        async for line in process.stdout:
            answered = int(line) if line.endswith(b"\n") else answered
        await process.wait()
    store = opened(tmp_path)
    names = {obj["metadata"]["name"] for obj in store.peek_all("ConfigMap")}
    assert {f"c-{number}" for number in range(answered + 1)} <= names
    await store.aclose()
