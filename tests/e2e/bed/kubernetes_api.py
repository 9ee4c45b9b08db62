"""The few requests that the bed itself makes of its API server; the product's client is what is tested."""

import ssl
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from tests.e2e.bed.errors import BedError

REQUEST_SECONDS: Final = 10.0
PLURALS: Final = {
    "Node": "nodes",
    "Deployment": "deployments",
    "Namespace": "namespaces",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "ServiceAccount": "serviceaccounts",
    "CustomResourceDefinition": "customresourcedefinitions",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}


class Api:
    """Requests as an administrator.

    Args:
        ca: the certificate that the server shows; need not be there yet.
    """

    def __init__(self, address: str, token: str, ca: Path) -> None:
        self._client = httpx.Client(
            base_url=address,
            headers={"Authorization": f"Bearer {token}"},
            timeout=REQUEST_SECONDS,
            trust_env=False,
            verify=ssl.create_default_context(cafile=ca),
        )

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def ready(self) -> bool:
        """Whether the API server says so."""
        try:
            return self._client.get("/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def found(self, path: str) -> bool:
        """Whether a GET succeeds."""
        return self._client.get(path).status_code == httpx.codes.OK

    def get(self, path: str) -> dict[str, Any]:
        """The object at a path. Raises BedError when there is none."""
        return self._answer(self._client.get(path))

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a POST."""
        return self._answer(self._client.post(path, json=body))

    def delete(self, path: str) -> None:
        """Delete in the background."""
        self._answer(self._client.delete(path))

    def apply(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Server-side apply: also of manifests that are too long for the annotation of the other way."""
        meta = manifest["metadata"]
        version = manifest["apiVersion"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        scope = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
        answer = self._client.patch(
            f"{root}{scope}/{PLURALS[manifest['kind']]}/{meta['name']}",
            params={"fieldManager": "serinus-bed", "force": "true"},
            # JSON is YAML, too.
            content=msgspec.json.encode(manifest),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )
        return self._answer(answer)

    def _answer(self, response: httpx.Response) -> dict[str, Any]:
        if not response.is_success:
            request = response.request
            raise BedError(f"{request.method} {request.url.path}: {response.text[:1000]}")
        decoded: dict[str, Any] = response.json()
        return decoded
