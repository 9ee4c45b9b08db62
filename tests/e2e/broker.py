"""A real Kafka broker of one node, from Maven Central: what the bus is tested on."""

import asyncio
import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from tests.e2e.processes import free_port

POM: Final = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>dev.serinus</groupId><artifactId>bed-kafka</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.4.0</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""
JAVA: Final = (
    "java", "-Xmx384m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)  # fmt: skip
CLUSTER_ID: Final = "c2VyaW51cy1iZWQtMDAwMA"
START_SECONDS: Final = 60.0
USER: Final = "agent"
PASSWORD: Final = "kafka-s3cret"


def jars() -> Path:
    """A directory with Kafka's jars; fetched once for each version of the list above.

    Raises RuntimeError naming what is missing.
    """
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "serinus"
    found = root / f"kafka-{hashlib.sha256(POM.encode()).hexdigest()[:16]}"
    if found.is_dir():
        return found
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise RuntimeError(f"missing: {tool} (Debian: default-jre-headless, maven)")
    work = root / f"kafka-{os.getpid()}.part"
    work.mkdir(parents=True, exist_ok=True)
    (work / "pom.xml").write_text(POM)
    subprocess.run(
        ("mvn", "-B", "-q", "-f", work / "pom.xml", "dependency:copy-dependencies",
         f"-DoutputDirectory={work}", "-DincludeScope=runtime"),
        check=True, timeout=300,
    )  # fmt: skip
    try:
        work.rename(found)
    except OSError:
        # Another process was faster.
        shutil.rmtree(work)
    return found


class Broker:
    """One broker that is its own controller; its data survive `kill` and `terminate`.

    Args:
        secured: also listens with SASL over TLS (`secure_address`), with a certificate of `ca`.
    """

    def __init__(self, directory: Path, *, secured: bool = False) -> None:
        self.directory = directory
        self._jars = jars()
        self._port, self._controller = free_port(), free_port()
        self._secure_port = free_port() if secured else 0
        self._process: subprocess.Popen[bytes] | None = None
        self.ca = directory / "cert.pem"
        directory.mkdir(parents=True, exist_ok=True)
        if secured:
            self._make_certificate()
        (directory / "server.properties").write_text("\n".join(self._properties()) + "\n")
        self._java(
            "kafka.tools.StorageTool", "format", "--standalone", "-t", CLUSTER_ID,
            *(("--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]") if secured else ()),
            "-c", str(directory / "server.properties"),
        ).wait(START_SECONDS)  # fmt: skip

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def secure_address(self) -> str:
        return f"127.0.0.1:{self._secure_port}"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def start(self) -> None:
        """Start it (again) and wait until it answers."""
        self._process = self._java("kafka.Kafka", str(self.directory / "server.properties"))
        deadline = time.monotonic() + START_SECONDS
        while not asyncio.run(_answers(self.address)):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"Kafka does not answer: {self.log[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """An orderly stop."""
        self._end(signal.SIGTERM)

    @property
    def log(self) -> str:
        return (self.directory / "broker.log").read_text(errors="replace")

    def _end(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(START_SECONDS)

    def _java(self, *args: str) -> subprocess.Popen[bytes]:
        with (self.directory / "broker.log").open("ab") as log:
            return subprocess.Popen(
                (*JAVA, "-cp", f"{self._jars}/*", *args),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _make_certificate(self) -> None:
        subprocess.run(
            ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
             "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", self.directory / "key.pem", "-out", self.ca),
            check=True, capture_output=True,
        )  # fmt: skip
        both = (self.directory / "key.pem").read_text() + self.ca.read_text()
        (self.directory / "keystore.pem").write_text(both)

    def _properties(self) -> Sequence[str]:
        """For tests: one replica of everything, no waiting for more members, a short lease."""
        listeners = [f"PLAINTEXT://127.0.0.1:{self._port}"]
        secured: list[str] = []
        if self._secure_port:
            listeners.append(f"SASL_SSL://127.0.0.1:{self._secure_port}")

            def login(mechanism: str) -> str:
                name = f"listener.name.sasl_ssl.{mechanism}.sasl.jaas.config"
                return f"{name}=org.apache.kafka.common.security"

            secured = [
                "sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN",
                "ssl.keystore.type=PEM",
                f"ssl.keystore.location={self.directory}/keystore.pem",
                f"{login('scram-sha-512')}.scram.ScramLoginModule required;",
                f'{login("plain")}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
            ]
        advertised = ",".join(listeners)
        return (
            "process.roles=broker,controller",
            "node.id=1",
            f"controller.quorum.bootstrap.servers=127.0.0.1:{self._controller}",
            f"listeners={advertised},CONTROLLER://127.0.0.1:{self._controller}",
            f"advertised.listeners={advertised}",
            "controller.listener.names=CONTROLLER",
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL",
            f"log.dirs={self.data}",
            "offsets.topic.replication.factor=1",
            "transaction.state.log.replication.factor=1",
            "transaction.state.log.min.isr=1",
            "share.coordinator.state.topic.replication.factor=1",
            "share.coordinator.state.topic.min.isr=1",
            "offsets.topic.num.partitions=4",
            "transaction.state.log.num.partitions=4",
            "group.initial.rebalance.delay.ms=0",
            "group.min.session.timeout.ms=1000",
            "auto.create.topics.enable=false",
            "broker.session.timeout.ms=2000",
            "broker.heartbeat.interval.ms=500",
            *secured,
        )


async def _answers(address: str) -> bool:
    client = AIOKafkaClient(bootstrap_servers=address, request_timeout_ms=2_000)
    try:
        await client.bootstrap()
        # Before it is registered a broker answers with an empty cluster.
        return bool(client.cluster.brokers())
    except KafkaError:
        return False
    finally:
        await client.close()
