"""A real Kafka broker of one node (its own controller), from Maven Central."""

import socket
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from tests.e2e.bed.cache import Artefact
from tests.e2e.bed.certificates import self_signed
from tests.e2e.bed.servers import Server
from tests.e2e.bed.tools import include, program, run
from tests.e2e.processes import free_port

POM: Final = Path(__file__).with_name("kafka") / "pom.xml"
JAVA: Final = (
    "-Xmx384m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)  # fmt: skip
CLUSTER_ID: Final = "c2VyaW51cy1iZWQtMDAwMA"
FETCH_SECONDS: Final = 600.0
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0
USER: Final = "agent"
PASSWORD: Final = "kafka-s3cret"
API_VERSIONS: Final = struct.pack(">ihhih", 10, 18, 0, 1, -1)
"""A request that every broker answers once it is registered: size, key, version, correlation, no client id."""


def jars() -> Artefact:
    """Kafka's jars in one directory."""

    def fetch(directory: Path) -> None:
        program("java")
        run(
            [program("mvn"), "-B", "-q", "-f", POM, "dependency:copy-dependencies",
             f"-DoutputDirectory={directory}", "-DincludeScope=runtime"],
            FETCH_SECONDS,
        )  # fmt: skip

    return Artefact("kafka", [POM.read_bytes()], fetch)


def class_archive() -> Artefact:
    """The classes of a broker, loaded and checked: a broker with it is ready in half of the time.

    Valid for one class path, as a string, and one Java.
    """
    libraries = jars()

    def dump(directory: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="serinus-kafka-") as data:
            broker = Broker(Path(data), java=[f"-XX:ArchiveClassesAtExit={directory}/kafka.jsa"])
            broker.start()
            broker.terminate()

    version = run([program("java"), "-version"], START_SECONDS)
    sources = [str(libraries.directory).encode(), version.encode(), " ".join(JAVA).encode()]
    return Artefact("kafka-classes", sources, dump)


class Broker:
    """One broker. Its data and ports survive `kill` and `terminate`.

    Args:
        secured: also listens with SASL over TLS (`secure_address`), with a certificate of `ca`; SCRAM and
            PLAIN know USER with PASSWORD.
        java: more arguments for the virtual machine, instead of the archive of classes.
    """

    def __init__(
        self, directory: Path, *, secured: bool = False, java: Sequence[str] | None = None
    ) -> None:
        include("kafka")
        self.directory = directory
        self._port, self._controller = free_port(), free_port()
        self._secure_port = free_port() if secured else 0
        self.ca = directory / "certificate.pem"
        directory.mkdir(parents=True, exist_ok=True)
        if secured:
            key = self_signed(self.ca)
            (directory / "keystore.pem").write_text(key.read_text() + self.ca.read_text())
        properties = directory / "server.properties"
        properties.write_text("\n".join(self._properties()) + "\n")
        if java is None:
            java = [f"-XX:SharedArchiveFile={class_archive().get()}/kafka.jsa"]
        # The star is for the virtual machine.
        command = [program("java"), *JAVA, *java, "-cp", f"{jars().get()}/*"]
        scram = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
        run(
            [*command, "kafka.tools.StorageTool", "format", "--standalone", "-t", CLUSTER_ID,
             *(("--add-scram", scram) if secured else ()), "-c", properties],
            START_SECONDS,
        )  # fmt: skip
        self._server = Server("kafka", [*command, "kafka.Kafka", properties], directory=directory)

    @property
    def address(self) -> str:
        """host:port without authentication."""
        return f"127.0.0.1:{self._port}"

    @property
    def secure_address(self) -> str:
        """host:port with SASL over TLS."""
        return f"127.0.0.1:{self._secure_port}"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> str:
        return self._server.log.read_text(errors="replace")

    def start(self) -> None:
        """Start it (again) and wait until it answers."""
        self._server.start()
        self._server.until(self._answers, "ready", START_SECONDS)

    def kill(self) -> None:
        """kill -9."""
        self._server.kill()

    def terminate(self) -> None:
        """An orderly stop."""
        self._server.stop(STOP_SECONDS)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Nobody reads these data again, so nothing needs to be saved.
        self.kill()

    def _answers(self) -> bool:
        # The listener opens only when the broker is registered and not fenced.
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=2) as connection:
                connection.sendall(API_VERSIONS)
                return len(connection.recv(8)) > 0
        except OSError:
            return False

    def _properties(self) -> Sequence[str]:
        """For tests: one replica of everything, no waiting for more members, a short lease."""
        listeners = [f"PLAINTEXT://127.0.0.1:{self._port}"]
        secured: list[str] = []
        if self._secure_port:
            listeners.append(f"SASL_SSL://127.0.0.1:{self._secure_port}")
            secured = self._secured()
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
            # A transaction that timed out is aborted within this, not within 10 s.
            "transaction.abort.timed.out.transaction.cleanup.interval.ms=500",
            "offsets.topic.num.partitions=4",
            "transaction.state.log.num.partitions=4",
            "group.initial.rebalance.delay.ms=0",
            "group.min.session.timeout.ms=1000",
            "auto.create.topics.enable=false",
            # A killed broker is let in again when its lease of before is over.
            "broker.session.timeout.ms=2000",
            "broker.heartbeat.interval.ms=500",
            *secured,
        )

    def _secured(self) -> list[str]:
        def login(mechanism: str) -> str:
            name = f"listener.name.sasl_ssl.{mechanism}.sasl.jaas.config"
            return f"{name}=org.apache.kafka.common.security"

        return [
            "sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN",
            "ssl.keystore.type=PEM",
            f"ssl.keystore.location={self.directory}/keystore.pem",
            f"{login('scram-sha-512')}.scram.ScramLoginModule required;",
            f'{login("plain")}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
        ]
