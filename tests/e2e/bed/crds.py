"""CustomResourceDefinitions: those of Istio and Gateway API from their Go modules, and ours of deploy/."""

import json
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml

from tests.e2e.bed.cache import Artefact
from tests.e2e.bed.errors import BedError
from tests.e2e.bed.kubernetes_api import Api
from tests.e2e.bed.tools import ROOT, program, run

# Apart from the control plane's: one module graph would move the versions of the other.
SOURCES: Final = Path(__file__).with_name("crds")
FILES: Final = {
    "istio.io/api": "kubernetes/customresourcedefinitions.gen.yaml",
    "sigs.k8s.io/gateway-api": "config/crd/standard/*.yaml",
}
OWN: Final = ROOT / "deploy" / "crds"
FETCH_SECONDS: Final = 300.0
ESTABLISHED_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.05


def files() -> Artefact:
    """The manifests of Istio and Gateway API."""
    sources = [SOURCES / "go.mod", SOURCES / "go.sum"]

    def fetch(directory: Path) -> None:
        for module, pattern in FILES.items():
            answer = run(
                [program("go"), "mod", "download", "-json", module],
                FETCH_SECONDS,
                directory=SOURCES,
                GOFLAGS="-mod=readonly",
            )
            found = sorted(Path(json.loads(answer)["Dir"]).glob(pattern))
            if not found:
                raise BedError(f"{module} has no {pattern}")
            for file in found:
                # The module cache is read-only.
                shutil.copyfile(file, directory / f"{module.replace('/', '_')}_{file.name}")

    return Artefact("crds", [file.read_bytes() for file in sources], fetch)


def manifests(*directories: Path) -> list[dict[str, Any]]:
    """All objects of the YAML files of some directories."""
    return [
        manifest
        for directory in directories
        for file in sorted(directory.glob("*.yaml"))
        for manifest in yaml.load_all(file.read_text(), yaml.CSafeLoader)
        if manifest
    ]


def install(api: Api, objects: Iterable[dict[str, Any]]) -> None:
    """Apply them, and wait until the API server serves every kind."""
    definitions = []
    for manifest in objects:
        api.apply(manifest)
        if manifest["kind"] == "CustomResourceDefinition":
            definitions.append(manifest["metadata"]["name"])
    deadline = time.monotonic() + ESTABLISHED_SECONDS
    for name in definitions:
        while not _established(api, name):
            if time.monotonic() > deadline:
                raise BedError(f"{name} is not Established after {ESTABLISHED_SECONDS:g} s")
            time.sleep(POLL_SECONDS)


def _established(api: Api, name: str) -> bool:
    found = api.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
    return any(
        condition["type"] == "Established" and condition["status"] == "True"
        for condition in found.get("status", {}).get("conditions") or ()
    )
