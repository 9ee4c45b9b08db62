"""Is a pod template one that a ReplicaSet can be made of? PURE.

Kubernetes would refuse such a ReplicaSet anyway, but only once it is created: the errors are told here in
Kubernetes' words. What depends on the cluster (feature gates, capabilities, quota) is left to it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from agent.errors import Refused
from agent.rollout import labels
from agent.rollout.field_errors import (
    at,
    duplicate,
    forbidden,
    invalid,
    not_found,
    not_negative,
    not_supported,
    required,
)
from agent.rollout.hashes import VOLUME_KINDS, pod_template_hash
from agent.rollout.quantities import amount
from agent.traffic.types import FieldError

Part = Mapping[str, Any]

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_BAD_LABEL: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
    "and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_PORT_RANGE: Final = "must be between 1 and 65535, inclusive"
_PORT_NAME: Final = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
_PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
_RESTART_POLICIES: Final = ("Always", "Never", "OnFailure")
_DNS_POLICIES: Final = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_HANDLERS: Final = ("exec", "httpGet", "tcpSocket", "grpc")


def pod_template_errors(
    template: Part, selector: Part | None, replicas: int, field: str
) -> list[FieldError]:
    """Errors of the template of a ReplicaSet with that selector and size; `field` is the template's path."""
    try:
        pod_template_hash(dict(template))
    except Refused as error:
        return [FieldError(f"{field}.{error.field}" if error.field else field, error.detail)]
    meta, spec = _part(template, "metadata"), _part(template, "spec")
    errors = []
    if (selector is None or not labels.is_empty(selector)) and not labels.matches(
        selector, _part(meta, "labels")
    ):
        why = "`selector` does not match template `labels`"
        errors.append(FieldError(f"{field}.metadata.labels", why))
    errors += labels.label_errors(_part(meta, "labels"), f"{field}.metadata.labels")
    for key in sorted(_part(meta, "annotations")):
        problems = labels.key_problems(key.lower())
        errors += [invalid(f"{field}.metadata.annotations", key, why) for why in problems]
    return errors + _spec_errors(spec, replicas, f"{field}.spec")


def _spec_errors(spec: Part, replicas: int, field: str) -> list[FieldError]:
    volumes = _list(spec, "volumes")
    errors = _volume_errors(volumes, replicas, f"{field}.volumes")
    known = [volume.get("name") or "" for volume in volumes]
    names: list[str] = []
    containers = _list(spec, "containers")
    if not containers:
        errors.append(required(f"{field}.containers"))
    for group in ("containers", "initContainers"):
        for index, container in enumerate(_list(spec, group)):
            place = at(f"{field}.{group}", index)
            errors += _name_errors(container, names, place)
            errors += _container_errors(container, known, place)
            names.append(container.get("name") or "")
    errors += _choice(spec, "dnsPolicy", _DNS_POLICIES, field)
    errors += _choice(spec, "restartPolicy", _RESTART_POLICIES, field)
    if (spec.get("restartPolicy") or "Always") != "Always":
        place = f"{field}.restartPolicy"
        errors.append(not_supported(place, spec["restartPolicy"], ("Always",)))
    if spec.get("activeDeadlineSeconds") is not None:
        why = "activeDeadlineSeconds in ReplicaSet is not Supported"
        errors.append(forbidden(f"{field}.activeDeadlineSeconds", why))
    grace = spec.get("terminationGracePeriodSeconds") or 0
    return errors + not_negative(f"{field}.terminationGracePeriodSeconds", grace)


def _volume_errors(volumes: Sequence[Part], replicas: int, field: str) -> list[FieldError]:
    errors = []
    names: list[str] = []
    for index, volume in enumerate(volumes):
        place = at(field, index)
        errors += _name_errors(volume, names, place)
        names.append(volume.get("name") or "")
        kinds = [kind for kind in VOLUME_KINDS if volume.get(kind) is not None]
        for kind in kinds[1:]:
            why = "may not specify more than 1 volume type"
            errors.append(forbidden(f"{place}.{kind}", why))
        disk = _part(volume, "gcePersistentDisk")
        if replicas > 1 and disk and not disk.get("readOnly"):
            why = "must be read-only for replicated pods > 1; GCE PD can only be mounted on multiple machines if it is read-only"
            errors.append(invalid(f"{place}.gcePersistentDisk.readOnly", False, why))
    return errors


def _name_errors(item: Part, others: Sequence[str], field: str) -> list[FieldError]:
    """Errors of a name that must be a DNS label and differ from the others."""
    name = item.get("name") or ""
    if not name:
        return [required(f"{field}.name")]
    errors = _dns_label_errors(name, f"{field}.name")
    return [*errors, duplicate(f"{field}.name", name)] if name in others else errors


def _dns_label_errors(name: str, field: str) -> list[FieldError]:
    errors = [] if len(name) <= 63 else [invalid(field, name, "must be no more than 63 bytes")]
    return errors if _LABEL.fullmatch(name) else [*errors, invalid(field, name, _BAD_LABEL)]


def _container_errors(container: Part, volumes: Sequence[str], field: str) -> list[FieldError]:
    errors = []
    image = container.get("image") or ""
    if not image:
        errors.append(required(f"{field}.image"))
    elif image != image.strip():
        why = "must not have leading or trailing whitespace"
        errors.append(invalid(f"{field}.image", image, why))
    errors += _choice(container, "imagePullPolicy", _PULL_POLICIES, field)
    errors += _port_errors(_list(container, "ports"), f"{field}.ports")
    errors += _env_errors(_list(container, "env"), f"{field}.env")
    errors += _mount_errors(_list(container, "volumeMounts"), volumes, f"{field}.volumeMounts")
    errors += _resource_errors(_part(container, "resources"), f"{field}.resources")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(probe) is not None:
            errors += _probe_errors(_part(container, probe), f"{field}.{probe}")
    return errors


def _port_errors(ports: Sequence[Part], field: str) -> list[FieldError]:
    errors = []
    names: list[str] = []
    for index, port in enumerate(ports):
        place = at(field, index)
        number, name = port.get("containerPort") or 0, port.get("name") or ""
        if number == 0:
            errors.append(required(f"{place}.containerPort"))
        elif not 1 <= number <= 65535:
            errors.append(invalid(f"{place}.containerPort", number, _PORT_RANGE))
        host = port.get("hostPort") or 0
        if host != 0 and not 1 <= host <= 65535:
            errors.append(invalid(f"{place}.hostPort", host, _PORT_RANGE))
        if name and (len(name) > 15 or not _PORT_NAME.fullmatch(name)):
            why = (
                "must be at most 15 lower case letters, digits and single inner '-', with a letter"
            )
            errors.append(invalid(f"{place}.name", name, why))
        if name and name in names:
            errors.append(duplicate(f"{place}.name", name))
        names.append(name)
        errors += _choice(port, "protocol", _PROTOCOLS, place)
    return errors


def _env_errors(variables: Sequence[Part], field: str) -> list[FieldError]:
    errors = []
    for index, variable in enumerate(variables):
        place = at(field, index)
        if not variable.get("name"):
            errors.append(required(f"{place}.name"))
        if variable.get("valueFrom") is not None and variable.get("value"):
            why = "may not be specified when `value` is not empty"
            errors.append(invalid(f"{place}.valueFrom", "", why))
    return errors


def _mount_errors(mounts: Sequence[Part], volumes: Sequence[str], field: str) -> list[FieldError]:
    errors = []
    paths: list[str] = []
    for index, mount in enumerate(mounts):
        place = at(field, index)
        name, path = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            errors.append(required(f"{place}.name"))
        elif name not in volumes:
            errors.append(not_found(f"{place}.name", name))
        if not path:
            errors.append(required(f"{place}.mountPath"))
        elif path in paths:
            errors.append(invalid(f"{place}.mountPath", path, "must be unique"))
        paths.append(path)
    return errors


def _resource_errors(resources: Part, field: str) -> list[FieldError]:
    limits, requests = _part(resources, "limits"), _part(resources, "requests")
    errors = []
    for member, quantities in (("limits", limits), ("requests", requests)):
        for name, quantity in sorted(quantities.items()):
            if amount(str(quantity)) < 0:
                why = "must be greater than or equal to 0"
                errors.append(invalid(f"{field}.{member}[{name}]", str(quantity), why))
    for name, quantity in sorted(requests.items()):
        limit = limits.get(name)
        if limit is not None and amount(str(quantity)) > amount(str(limit)):
            why = f"must be less than or equal to {name} limit of {limit}"
            errors.append(invalid(f"{field}.requests", str(quantity), why))
    return errors


def _probe_errors(probe: Part, field: str) -> list[FieldError]:
    handlers = [name for name in _HANDLERS if probe.get(name) is not None]
    if not handlers:
        return [required(field, "must specify a handler type")]
    why = "may not specify more than 1 handler type"
    return [forbidden(f"{field}.{name}", why) for name in handlers[1:]]


def _choice(part: Part, member: str, supported: Sequence[str], field: str) -> list[FieldError]:
    """An error when the member is set to something else than one of those."""
    value = part.get(member)
    if not value or value in supported:
        return []
    return [not_supported(f"{field}.{member}", value, supported)]


def _part(part: Part, member: str) -> Part:
    return part.get(member) or {}


def _list(part: Part, member: str) -> Sequence[Part]:
    return [item or {} for item in part.get(member) or ()]
