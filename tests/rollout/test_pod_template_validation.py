"""Which pod templates a ReplicaSet can be made of."""

from typing import Any

import pytest

from agent.rollout.pod_template_validation import pod_template_errors

GOOD: dict[str, Any] = {"name": "web", "image": "web:1"}


def errors_of(spec: dict[str, Any], replicas: int = 1, **metadata: Any) -> list[tuple[str, str]]:
    template = {"metadata": {"labels": {"app": "web"}, **metadata}, "spec": spec}
    selector = {"matchLabels": {"app": "web"}}
    return [
        (error.field, error.type.removeprefix("FieldValue"))
        for error in pod_template_errors(template, selector, replicas, "t")
    ]


def container_errors(**fields: Any) -> list[tuple[str, str]]:
    spec = {"containers": [{**GOOD, **fields}], "volumes": [{"name": "data", "emptyDir": {}}]}
    return [
        (field.removeprefix("t.spec.containers[0]."), type_) for field, type_ in errors_of(spec)
    ]


def test_a_good_template() -> None:
    assert errors_of({"containers": [GOOD]}) == []


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"name": ""}, ("name", "Required")),
        ({"name": "Web"}, ("name", "Invalid")),
        ({"name": "w" * 64}, ("name", "Invalid")),
        ({"image": ""}, ("image", "Required")),
        ({"image": " web:1"}, ("image", "Invalid")),
        ({"imagePullPolicy": "Sometimes"}, ("imagePullPolicy", "NotSupported")),
        ({"ports": [{}]}, ("ports[0].containerPort", "Required")),
        ({"ports": [{"containerPort": 65536}]}, ("ports[0].containerPort", "Invalid")),
        ({"ports": [{"containerPort": 80, "hostPort": -1}]}, ("ports[0].hostPort", "Invalid")),
        ({"ports": [{"containerPort": 80, "name": "8080"}]}, ("ports[0].name", "Invalid")),
        ({"ports": [{"containerPort": 80, "name": "a--b"}]}, ("ports[0].name", "Invalid")),
        ({"ports": [{"containerPort": 80, "protocol": "tcp"}]}, ("ports[0].protocol", "NotSupported")),
        ({"ports": [{"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}]}, ("ports[1].name", "Duplicate")),
        ({"env": [{"value": "x"}]}, ("env[0].name", "Required")),
        ({"env": [{"name": "N", "value": "x", "valueFrom": {}}]}, ("env[0].valueFrom", "Invalid")),
        ({"volumeMounts": [{"name": "data", "mountPath": ""}]}, ("volumeMounts[0].mountPath", "Required")),
        ({"volumeMounts": [{"name": "", "mountPath": "/a"}]}, ("volumeMounts[0].name", "Required")),
        ({"volumeMounts": [{"name": "logs", "mountPath": "/a"}]}, ("volumeMounts[0].name", "NotFound")),
        ({"volumeMounts": [{"name": "data", "mountPath": "/a"}, {"name": "data", "mountPath": "/a"}]}, ("volumeMounts[1].mountPath", "Invalid")),
        ({"resources": {"limits": {"cpu": "-1"}}}, ("resources.limits[cpu]", "Invalid")),
        ({"resources": {"limits": {"cpu": "500m"}, "requests": {"cpu": 0.6}}}, ("resources.requests", "Invalid")),
        ({"livenessProbe": {}}, ("livenessProbe", "Required")),
        ({"readinessProbe": {"exec": {}, "httpGet": {"port": 1}}}, ("readinessProbe.httpGet", "Forbidden")),
    ],
)  # fmt: skip
def test_container(fields: dict[str, Any], error: tuple[str, str]) -> None:
    assert container_errors(**fields) == [error]


@pytest.mark.parametrize(
    "fields",
    [
        {"resources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "1024Mi"}}},
        {"volumeMounts": [{"name": "data", "mountPath": "/a"}]},
        {"ports": [{"containerPort": 80, "name": "http-1", "protocol": "UDP"}]},
        {"livenessProbe": {"grpc": {"port": 1}}, "env": [{"name": "N", "valueFrom": {}}]},
    ],
)
def test_good_containers(fields: dict[str, Any]) -> None:
    assert container_errors(**fields) == []


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({}, ("t.spec.containers", "Required")),
        ({"containers": [GOOD], "restartPolicy": "OnFailure"}, ("t.spec.restartPolicy", "NotSupported")),
        ({"containers": [GOOD], "dnsPolicy": "Mine"}, ("t.spec.dnsPolicy", "NotSupported")),
        ({"containers": [GOOD], "activeDeadlineSeconds": 5}, ("t.spec.activeDeadlineSeconds", "Forbidden")),
        ({"containers": [GOOD], "terminationGracePeriodSeconds": -1}, ("t.spec.terminationGracePeriodSeconds", "Invalid")),
        ({"containers": [GOOD], "initContainers": [GOOD]}, ("t.spec.initContainers[0].name", "Duplicate")),
        ({"containers": [GOOD], "volumes": [{}]}, ("t.spec.volumes[0].name", "Required")),
        ({"containers": [GOOD], "volumes": [{"name": "a"}, {"name": "a"}]}, ("t.spec.volumes[1].name", "Duplicate")),
        ({"containers": [GOOD], "volumes": [{"name": "a", "hostPath": {"path": "/"}, "secret": {}}]}, ("t.spec.volumes[0].secret", "Forbidden")),
        ({"containers": "web"}, ("t.spec.containers", "Invalid")),
        ({"containers": [{"image": 5}]}, ("t.spec.containers[0].image", "Invalid")),
    ],
)  # fmt: skip
def test_spec(spec: dict[str, Any], error: tuple[str, str]) -> None:
    assert errors_of(spec)[0] == error


def test_a_disk_that_one_machine_writes_cannot_be_shared() -> None:
    disk = {"name": "a", "gcePersistentDisk": {"pdName": "d"}}
    spec = {"containers": [GOOD], "volumes": [disk]}
    assert errors_of(spec) == []
    field = "t.spec.volumes[0].gcePersistentDisk.readOnly"
    assert errors_of(spec, replicas=2) == [(field, "Invalid")]


def test_metadata() -> None:
    spec = {"containers": [GOOD]}
    labels = {"app": "web", "a b": "c d"}
    assert errors_of(spec, labels=labels) == [("t.metadata.labels", "Invalid")] * 2
    assert errors_of(spec, annotations={"a b": "x"}) == [("t.metadata.annotations", "Invalid")]
    assert errors_of(spec, annotations={"A/b": "any text"}) == []
    assert errors_of(spec, labels={}) == [("t.metadata.labels", "Invalid")]
