"""`serinus kafka`: the topics that the bus needs, and what is on them."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import typer

from agent.api.durations import SECOND, parse_go_duration
from agent.cli.kafka_text import concerns, json_of, text_of
from agent.errors import Refused, SerinusError
from agent.settings import BusSettings, load

app = typer.Typer(help="Topics on Kafka: create them, read them.", no_args_is_help=True)

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="settings file (YAML); section bus is used")
]
Brokers = Annotated[
    str, typer.Option(help="host:port[,host:port]; overrides bus.brokers", metavar="LIST")
]


CANCEL_TRIES: Final = 3
CANCEL_SECONDS: Final = 4.0
"""From Ctrl-C to the next try; more than a consumer's stop takes."""


@app.command()
def init(
    config: Config = None,
    brokers: Brokers = "",
    partitions: Annotated[
        int | None,
        typer.Option(help="of inbox, urgent and rollouts; overrides bus.partitions", min=1),
    ] = None,
    replication_factor: Annotated[
        int | None,
        typer.Option(help="overrides bus.replication_factor; -1: the brokers' default", min=-1),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="ask the brokers, but create nothing")
    ] = False,
) -> None:
    """Create the topics that are missing, and say how those that exist differ from what is wanted.

    Nothing that exists is changed: safe to run again.

    Examples:

      serinus kafka init --config serinus.yaml

      serinus kafka init --brokers localhost:9092 --partitions 12 --replication-factor 3

      serinus kafka init --config serinus.yaml --dry-run
    """
    _run(_init(config, brokers, partitions, replication_factor, dry_run))


@app.command()
def tail(
    topic: Annotated[
        list[str] | None,
        typer.Argument(help="topics, such as rollouts or inbox.dlq; all of ours without any"),
    ] = None,
    config: Config = None,
    brokers: Brokers = "",
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="everything that is still there")
    ] = False,
    since: Annotated[
        str, typer.Option(help="only what was published this long ago or later: 10m, 1h30m")
    ] = "",
    rollout: Annotated[str, typer.Option(help="only what is about namespace/name")] = "",
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", "-o", help="text for people; json lines")
    ] = "text",
    max_records: Annotated[
        int | None, typer.Option("--max", help="end after so many records", min=1)
    ] = None,
) -> None:
    """Print events as they come, until Ctrl-C: our own, what came in, dead letters with their reason.

    Examples:

      serinus kafka tail --config serinus.yaml

      serinus kafka tail rollouts --since 1h --rollout shop/checkout

      serinus kafka tail inbox.dlq urgent.dlq --from-beginning --max 20

      serinus kafka tail rollouts -o json --brokers localhost:9092 | jq .event.type
    """
    _run(_tail(config, brokers, topic or [], from_beginning, since, rollout, output, max_records))


async def _init(
    config: Path | None,
    brokers: str,
    partitions: int | None,
    replication_factor: int | None,
    dry_run: bool,
) -> None:
    from agent.bus.kafka.connection import client_options
    from agent.bus.kafka.topics import Topics, differences, wanted

    settings = _settings(config, brokers)
    if partitions is not None:
        settings = msgspec.structs.replace(settings, partitions=partitions)
    if replication_factor is not None:
        settings = msgspec.structs.replace(settings, replication_factor=replication_factor)
    async with Topics(settings, client_options(settings)) as topics:
        existing = await topics.existing(with_configs=True)
        absent = [topic for topic in wanted(settings) if topic.name not in existing]
        await topics.create(absent, dry_run=dry_run)
    for topic in wanted(settings):
        found = existing.get(topic.name)
        if found is None:
            verb = "would create" if dry_run else "created"
            typer.echo(
                f"{verb:12}  {topic.name}  partitions={topic.partitions}  {_configs(topic.configs)}"
            )
            continue
        typer.echo(f"{'exists':12}  {topic.name}  partitions={found.partitions}")
        for difference in differences(topic, found):
            typer.echo(f"{'':12}    {difference}")


async def _tail(
    config: Path | None,
    brokers: str,
    asked: list[str],
    from_beginning: bool,
    since: str,
    rollout: str,
    output: str,
    max_records: int | None,
) -> None:
    from agent.bus.kafka.tail import tail as records

    if since and from_beginning:
        raise Refused("cannot be combined with --from-beginning", field="--since")
    settings = _settings(config, brokers)
    shown, line = 0, json_of if output == "json" else text_of
    found = records(settings, asked, begin=_begin(since), from_beginning=from_beginning)
    async with contextlib.aclosing(found):
        async for seen in found:
            if not concerns(seen.record, rollout):
                continue
            typer.echo(line(seen.record, seen.unreadable))
            shown += 1
            if shown == max_records:
                return


def _begin(since: str) -> datetime | None:
    if not since:
        return None
    try:
        nanoseconds = parse_go_duration(since)
    except ValueError as error:
        raise Refused(f"{since!r} is no duration such as 10m or 1h30m", field="--since") from error
    if nanoseconds < 0:
        raise Refused("must not be negative", field="--since")
    return datetime.now(UTC) - timedelta(seconds=nanoseconds / SECOND)


def _settings(config: Path | None, brokers: str) -> BusSettings:
    chosen = {"SERINUS_BUS__KIND": "kafka", "SERINUS_BUS__BROKERS": brokers} if brokers else {}
    settings = load(config, {**os.environ, **chosen}).bus
    if settings.kind != "kafka":
        raise Refused(
            "is memory: set it to kafka (and bus.brokers), or use --brokers", field="bus.kind"
        )
    return settings


def _configs(configs: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in configs.items())


async def _until_interrupted(work: Coroutine[Any, Any, None]) -> None:
    """Until it ends, or Ctrl-C ends it.

    It is cancelled more than once: a cancellation that comes together with an answer is lost in
    asyncio.wait_for of Python 3.11, which aiokafka uses.
    """
    interrupted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    task, waiting = asyncio.ensure_future(work), asyncio.ensure_future(interrupted.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for _ in range(CANCEL_TRIES):
        if task.done():
            break
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_SECONDS)
    if task.done() and not task.cancelled():
        task.result()


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run it; Ctrl-C is an orderly end. 2 for what the user must mend, 1 for what did not work."""
    # What it says at once is said better, and with the fix, by our own errors.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        asyncio.run(_until_interrupted(work))
    except BrokenPipeError:
        # `| head` has seen enough. The interpreter must not complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise typer.Exit(0) from None
    except SerinusError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, Refused) else 1) from error
