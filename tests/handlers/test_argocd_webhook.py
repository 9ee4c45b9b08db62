"""Argo CD's notification body becomes an event."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from agent.errors import Refused
from agent.events.catalogue import DEPLOYMENT_SYNCED, DeploymentSynced
from handlers.deployment import translate

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def an_application(**operation: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "shop", "namespace": "argocd", "uid": "u-1"},
        "spec": {"destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"}},
        "status": {
            "summary": {"images": ["shop:v2"]},
            "operationState": {
                "phase": "Succeeded",
                "startedAt": "2026-01-01T11:59:00Z",
                "finishedAt": "2026-01-01T11:59:20Z",
                "operation": {"initiatedBy": {"username": "ann"}},
                "syncResult": {
                    "revision": "0123abcd",
                    "resources": [
                        {
                            "group": "argoproj.io",
                            "kind": "Rollout",
                            "namespace": "shop",
                            "name": "checkout",
                        }
                    ],
                },
                **operation,
            },
        },
    }


@pytest.mark.parametrize(
    "wrap", [lambda app: app, lambda app: {"app": app}], ids=["bare", "under app"]
)
def test_reads_an_application(wrap: Any) -> None:
    (event,) = translate(msgspec.json.encode(wrap(an_application())), {}, NOW)
    assert event.type == DEPLOYMENT_SYNCED
    assert event.subject == "argocd/shop"
    sync = msgspec.json.decode(event.data, type=DeploymentSynced)
    assert (sync.application, sync.git_revision, sync.actor) == ("shop", "0123abcd", "ann")
    assert sync.resources is not None
    assert sync.resources[0].name == "checkout"


def test_one_operation_and_phase_is_one_event() -> None:
    ids = [
        translate(msgspec.json.encode(an_application(**change)), {}, NOW)[0].id
        for change in ({}, {}, {"phase": "Running"}, {"startedAt": "2026-01-01T12:30:00Z"})
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_an_application_that_never_synced_is_no_error() -> None:
    (event,) = translate(msgspec.json.encode({"metadata": {"name": "new"}}), {}, NOW)
    assert event.time == NOW


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b'{"app": 3}', b'{"metadata": {}}'],
    ids=["HTML", "a list", "no object", "no name"],
)
def test_refuses_anything_else(body: bytes) -> None:
    with pytest.raises(Refused):
        translate(body, {}, NOW)
