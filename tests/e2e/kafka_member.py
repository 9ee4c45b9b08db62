"""One replica's consumer as a process of its own: prints a line for what it owns and what it receives.

Usage: python -m tests.e2e.kafka_member SETTINGS.json SLOW_SECONDS
"""

import asyncio
import signal
import sys
from pathlib import Path

import msgspec

from agent.bus.kafka.bus import KafkaBus
from agent.bus.port import Record
from agent.bus.topics import INBOX
from agent.settings import BusSettings


async def main(settings: BusSettings, slow_seconds: float) -> None:

    def assigned(held: frozenset[int], of: int) -> None:
        print("owns", ",".join(map(str, sorted(held))) or "-", of, flush=True)

    async def receive(record: Record) -> None:
        await asyncio.sleep(slow_seconds)
        print("took", (record.value or b"").decode(), flush=True)

    bus = KafkaBus(settings, assigned=assigned)
    consumer = asyncio.create_task(bus.consume([INBOX], receive))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, consumer.cancel)
    await asyncio.wait({consumer})
    await bus.aclose()
    print("left", flush=True)


if __name__ == "__main__":
    given = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=BusSettings)
    asyncio.run(main(given, float(sys.argv[2])))
