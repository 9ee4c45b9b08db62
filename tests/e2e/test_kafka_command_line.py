"""`serinus kafka` as its user sees it, on a real broker."""

import asyncio
import signal
import sys
from pathlib import Path

import msgspec
import pytest

from agent.bus.port import Record
from agent.bus.topics import INBOX, ROLLOUTS
from tests.e2e import brokers
from tests.e2e.bed.kafka import Broker
from tests.e2e.kafka_stage import staged
from tests.e2e.processes import Process, until

pytestmark = pytest.mark.e2e
broker = brokers.of_module
EVENT = (
    b'{"specversion":"1.0","id":"%d","source":"serinus","type":"dev.serinus.rollout.weight.v1",'
    b'"subject":"%s","time":"2026-01-01T00:00:00Z","data":{"message":"weight 0 -> 20"}}'
)
STRUCTURED = (("content-type", b"application/cloudevents+json"),)


async def serinus(*args: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, output and errors of one command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent.cli", "kafka", *args,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={"PATH": "/usr/bin:/bin", **environment},
    )  # fmt: skip
    async with asyncio.timeout(40):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_topics_are_created_once_and_compared_afterwards(broker: Broker) -> None:
    def init(*args: str) -> tuple[str, ...]:
        return ("init", "--brokers", broker.address, "--partitions", "3", *args)

    code, out, err = await serinus(*init("--dry-run"), SERINUS_BUS__PREFIX="cli")
    assert (code, err) == (0, "")
    assert [line.split()[:3] for line in out.splitlines()] == [
        ["would", "create", name]
        for name in ("cli.inbox", "cli.urgent", "cli.rollouts", "cli.inbox.dlq", "cli.urgent.dlq")
    ]
    code, out, err = await serinus(*init(), SERINUS_BUS__PREFIX="cli")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split() == [
        "created", "cli.inbox", "partitions=3", "cleanup.policy=delete",
        "retention.ms=259200000", "max.message.bytes=1048576",
    ]  # fmt: skip
    again = await serinus(*init(), SERINUS_BUS__PREFIX="cli")
    assert again[1].splitlines()[0].split() == ["exists", "cli.inbox", "partitions=3"]
    assert len(again[1].splitlines()) == 5, "nothing differs"
    _, out, _ = await serinus(
        *init("--replication-factor", "3", "--partitions", "4"), SERINUS_BUS__PREFIX="cli"
    )
    assert "3 partitions, 4 wanted: left as it is" in out
    assert "min.insync.replicas=1, 2 wanted: left as it is" in out


async def test_what_the_brokers_refuse_is_said(broker: Broker) -> None:
    code, _, err = await serinus(
        "init", "--brokers", broker.address, "--replication-factor", "3", SERINUS_BUS__PREFIX="big"
    )
    assert code == 2
    assert "the brokers refuse topic big." in err
    assert "replication factor" in err.lower()


async def test_events_are_printed_and_what_is_none_is_named(broker: Broker) -> None:
    async with staged(broker.address) as stage:
        for number, subject in enumerate((b"shop/web", b"shop/other")):
            await stage.bus.publish(
                Record(
                    topic=ROLLOUTS, key=subject, value=EVENT % (number, subject), headers=STRUCTURED
                )
            )
        await stage.bus.publish(Record(topic=INBOX, key=b"k", value=b"\x1b[31m"))
        chosen = ("--brokers", broker.address, "--from-beginning")
        prefix = {"SERINUS_BUS__PREFIX": stage.settings.prefix}
        code, out, err = await serinus(
            "tail", "rollouts", *chosen, "--rollout", "shop/web", "--max", "1", **prefix
        )
        assert (code, err) == (0, "")
        assert out.split(maxsplit=2)[2].split() == [
            "rollout.weight",
            "shop/web",
            "weight",
            "0",
            "->",
            "20",
        ]
        _, out, _ = await serinus("tail", "inbox", *chosen, "--max", "1", **prefix)
        assert "no event" in out
        assert "\x1b" not in out
        _, out, _ = await serinus("tail", *chosen, "-o", "json", "--max", "3", **prefix)
        items = [msgspec.json.decode(line) for line in out.splitlines()]
        assert sorted(item.get("event", {}).get("id", "-") for item in items) == ["-", "0", "1"]
        _, out, _ = await serinus("tail", "rollouts", "--brokers", broker.address, "--since", "1h", "--max", "2", **prefix)  # fmt: skip
        assert len(out.splitlines()) == 2


async def test_what_comes_is_printed_until_ctrl_c(broker: Broker, tmp_path: Path) -> None:
    async with staged(broker.address) as stage:
        process = Process(
            "tail", "-m", "agent.cli", "kafka", "tail", "--brokers", broker.address,
            directory=tmp_path, environment={"SERINUS_BUS__PREFIX": stage.settings.prefix},
        )  # fmt: skip
        async with process:
            number = 0

            async def seen() -> bool:
                nonlocal number
                number += 1
                await stage.bus.publish(
                    Record(
                        topic=ROLLOUTS,
                        key=b"k",
                        value=EVENT % (number, b"shop/web"),
                        headers=STRUCTURED,
                    )
                )
                return "shop/web" in process.output()

            await until(seen, "a line", context=process)
            assert process._process is not None
            process._process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
            assert "Traceback" not in process.output()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("tail", "nowhere"), "'nowhere' is none of our topics"),
        (("tail", "--since", "soon"), "--since: 'soon' is no duration"),
        (("tail", "--since", "-5m"), "--since: must not be negative"),
        (("tail", "--since", "5m", "--from-beginning"), "--since: cannot be combined"),
    ],
)
async def test_a_mistake_is_named(args: tuple[str, ...], words: str, broker: Broker) -> None:
    async with staged(broker.address) as stage:
        code, _, err = await serinus(
            *args, "--brokers", broker.address, SERINUS_BUS__PREFIX=stage.settings.prefix
        )
    assert code == 2
    assert words in err
