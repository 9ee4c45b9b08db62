"""The raw hops of a run: what an alert cannot be faster than, on this machine at this moment."""

import asyncio
import contextlib
import time
import uuid
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from agent.cluster.kubernetes import KubernetesCluster
from agent.cluster.port import KINDS
from agent.errors import AlreadyExists
from tests.bench import shop

NAMESPACE: Final = "bench-raw"
"""Nobody drives what is in here."""
VALUE_BYTES: Final = 2048
PACE_SECONDS: Final = 0.05
WARM_UP: Final = 5


async def kafka_ms(address: str, times: int) -> list[float]:
    """Produce to consume: acks=all, idempotent, one record at a time, milliseconds."""
    topic = f"raw-{uuid.uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=address, enable_idempotence=True)
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=address, auto_offset_reset="earliest")
    await producer.start()
    await consumer.start()
    samples = []
    try:
        for number in range(WARM_UP + times):
            sent = time.perf_counter()
            acknowledged = asyncio.ensure_future(producer.send_and_wait(topic, b"x" * VALUE_BYTES))
            await consumer.getone()
            took = (time.perf_counter() - sent) * 1000
            await acknowledged
            if number >= WARM_UP:
                samples.append(took)
            await asyncio.sleep(PACE_SECONDS)
    finally:
        await consumer.stop()
        await producer.stop()
    return samples


async def two_patches_ms(cluster: KubernetesCluster, times: int) -> list[float]:
    """A Rollout's status, then a route, by the product's client: what an abort writes; milliseconds."""
    with contextlib.suppress(AlreadyExists):
        await cluster.create(KINDS["Namespace"], {"metadata": {"name": NAMESPACE}})
        await shop.create(cluster, NAMESPACE, ["raw"])
    samples = []
    for number in range(WARM_UP + times):
        status: dict[str, Any] = {"status": {"message": f"raw {number}"}}
        note: list[dict[str, Any]] = [
            {"op": "test", "path": "/spec/http/0/route/0/weight", "value": 100},
            {"op": "add", "path": "/metadata/annotations", "value": {"raw": str(number)}},
        ]
        began = time.perf_counter()
        await cluster.merge_patch(
            KINDS["Rollout"], NAMESPACE, "raw", status, status=True, urgent=True
        )
        await cluster.json_patch(KINDS["VirtualService"], NAMESPACE, "raw", note, urgent=True)
        if number >= WARM_UP:
            samples.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(PACE_SECONDS)
    return samples
