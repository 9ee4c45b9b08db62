"""HTTP clients for servers on this machine."""

from typing import Any

import httpx


def loopback(**options: Any) -> httpx.AsyncClient:
    """A client that asks no proxy and loads no authorities: 45 ms of processor, with every poll for readiness."""
    return httpx.AsyncClient(trust_env=False, verify=False, **options)  # noqa: S501  # there is no TLS on loopback
