"""The kubeconfig of a local cluster: readable by its owner only, for it holds the token."""

import os
from pathlib import Path

import msgspec


def token_path(token: str) -> str:
    """Prefix of the paths of a client that sends no header: kubectl sends none over HTTP without TLS."""
    return f"/token/{token}"


def write_kubeconfig(path: Path, *, server: str, token: str) -> None:
    """Write a kubeconfig with one cluster, user and context, all named `serinus-local`.

    Args:
        server: `http://127.0.0.1:PORT`.
    """
    name = "serinus-local"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": server + token_path(token)}}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)  # else its mode would be the old one
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.yaml.encode(config))
    beside.replace(path)
