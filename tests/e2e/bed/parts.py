"""The parts of the bed: how each is built, and started for everybody of a run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.e2e.bed import alertmanager, crds, kafka, kubernetes, prometheus
from tests.e2e.bed.cache import Artefact

Addresses = dict[str, str]


class Part(NamedTuple):
    """One part.

    Attributes:
        artefacts: what must be built before a start, in this order.
        install: what else must be there; quick when it is.
        start: brings it up in a directory of its own, the directory of the run being that one's parent.
    """

    artefacts: tuple[Callable[[], Artefact], ...]
    install: Callable[[], None]
    start: Callable[[Path], Addresses]

    def built(self) -> bool:
        """Whether a start takes seconds only."""
        return all(made().built for made in self.artefacts)

    def build(self) -> None:
        """Fetch, build, install; nothing to do the second time."""
        for made in self.artefacts:
            made().get()
        self.install()


def _kafka(directory: Path) -> Addresses:
    broker = kafka.Broker(directory)
    broker.start()
    return {"bootstrap": broker.address}


def _kubernetes(directory: Path) -> Addresses:
    definitions = crds.manifests(crds.files().get(), crds.OWN)
    cluster = kubernetes.Kubernetes(directory, definitions=definitions)
    cluster.start()
    kubectl = kubernetes.binary().get() / "kubectl"
    return {
        "kubeconfig": str(cluster.kubeconfig),
        "server": cluster.address,
        "kubectl": str(kubectl),
    }


def _prometheus(directory: Path) -> Addresses:
    known = directory.parent / "alertmanager.json"
    receiver: Any = json.loads(known.read_text()) if known.exists() else {}
    server = prometheus.Prometheus(directory, alertmanager=receiver.get("url", ""))
    server.start()
    return {"url": server.url, "directory": str(directory)}


def _alertmanager(directory: Path) -> Addresses:
    server = alertmanager.Alertmanager(directory, token="bed")
    server.start()
    return {"url": server.url, "configuration": str(server.config)}


def _nothing() -> None:
    return None


PARTS: Final = {
    "kubernetes": Part((kubernetes.binary, crds.files), _nothing, _kubernetes),
    "kafka": Part((kafka.jars, kafka.class_archive), _nothing, _kafka),
    "alertmanager": Part((), alertmanager.build, _alertmanager),
    "prometheus": Part((), prometheus.build, _prometheus),
}
"""In the order of their starts."""
