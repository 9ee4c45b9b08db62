"""HTTP clients for servers on this machine."""

from typing import Any

import httpx


def loopback(**options: Any) -> httpx.AsyncClient:
    """A client that asks no proxy and loads no authorities: that takes longer than an agent's start leaves time."""
    return httpx.AsyncClient(trust_env=False, verify=False, **options)  # noqa: S501  # no TLS on loopback
