"""What the types of the fields cannot say: which settings go together, and what a value must look like."""

import ipaddress
import math
import re
from typing import Final
from urllib.parse import urlsplit

import msgspec

from agent.errors import Refused
from agent.settings.sections import DOORS, BusSettings, OwnershipSettings, Settings

_OBJECT: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_LEASE: Final = re.compile(rf"({_OBJECT.pattern}/)?{_OBJECT.pattern}")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,200}")
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def check(settings: Settings) -> None:
    """Raises Refused with the field and the fix."""
    sink = settings.sink
    if not sink.tokens and not _is_loopback(sink.host):
        raise Refused(
            f"{sink.host} is not loopback, and there are no sink.tokens: set tokens, or host 127.0.0.1",
            field="sink.host",
        )
    for index, token in enumerate(sink.tokens):
        if bool(token.file) == bool(token.env):
            raise Refused("set exactly one of file and env", field=f"sink.tokens[{index}]")
        for door in token.doors:
            if door not in ("*", *DOORS):
                raise Refused(
                    f"{door!r} is no door; there are {', '.join(DOORS)}, and * for all",
                    field=f"sink.tokens[{index}].doors",
                )
    check_bus(settings.bus)
    _check_ownership(settings.ownership, settings.bus)
    for index, lease in enumerate(settings.engine.argo_leases):
        if not _LEASE.fullmatch(lease):
            raise Refused(
                f"{lease!r} is not the name of a Lease, or namespace/name",
                field=f"engine.argo_leases[{index}]",
            )
    if not _OBJECT.fullmatch(settings.engine.marks_namespace):
        raise Refused("must name a namespace", field="engine.marks_namespace")
    telegram = settings.telegram
    if telegram.chat_id and bool(telegram.token_file) == bool(telegram.token_env):
        raise Refused("set exactly one of token_file and token_env", field="telegram")
    for field, url in (
        ("alerts.alertmanager", settings.alerts.alertmanager),
        ("outlet.url", settings.outlet.url),
        ("prometheus.address", settings.prometheus.address),
        ("telegram.base_url", telegram.base_url),
    ):
        if url and not _is_url(url):
            raise Refused(f"{url!r} is no http(s) URL", field=field)
    for section, values in msgspec.to_builtins(settings).items():
        for name, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise Refused("must be a finite number of seconds", field=f"{section}.{name}")


def check_bus(bus: BusSettings) -> None:
    """The section `bus`; only what is used is looked at."""
    if bus.kind == "memory":
        return
    if not bus.brokers:
        raise Refused("name at least one broker as host:port", field="bus.brokers")
    for index, broker in enumerate(bus.brokers):
        if not _is_address(broker):
            raise Refused(f"{broker!r} is not host:port", field=f"bus.brokers[{index}]")
    for field in ("prefix", "group"):
        if not _NAME.fullmatch(getattr(bus, field)):
            raise Refused("must be 1 to 200 letters, digits, '.', '_' or '-'", field=f"bus.{field}")
    if bus.replication_factor == 0:
        raise Refused("must be at least 1, or -1", field="bus.replication_factor")
    if bus.heartbeat_seconds * 3 > bus.session_timeout_seconds:
        raise Refused(
            f"three of them must fit into bus.session_timeout_seconds ({bus.session_timeout_seconds:g})",
            field="bus.heartbeat_seconds",
        )
    _check_authentication(bus)
    _check_tls(bus)


def _check_ownership(ownership: OwnershipSettings, bus: BusSettings) -> None:
    if bus.kind == "kafka":
        if ownership.kind != "auto":
            raise Refused(
                f"{ownership.kind} does not go with bus.kind kafka, whose partitions share the rollouts out: "
                "leave it at auto",
                field="ownership.kind",
            )
        return
    if not all(_LABEL.fullmatch(part) for part in ownership.name.split(".")):
        raise Refused(
            "must be a name of Kubernetes: lower-case letters, digits, '-' and '.'",
            field="ownership.name",
        )
    if ownership.namespace and not _LABEL.fullmatch(ownership.namespace):
        raise Refused(
            "must be the name of a namespace: lower-case letters, digits and '-'",
            field="ownership.namespace",
        )
    if ownership.renew_seconds >= ownership.duration_seconds:
        raise Refused(
            f"must be less than ownership.duration_seconds ({ownership.duration_seconds}), so that the owner "
            "stops before another begins",
            field="ownership.renew_seconds",
        )
    if ownership.retry_seconds * 2 > ownership.renew_seconds:
        raise Refused(
            f"two of them must fit into ownership.renew_seconds ({ownership.renew_seconds:g})",
            field="ownership.retry_seconds",
        )


def _check_authentication(bus: BusSettings) -> None:
    named = [name for name in ("username", "password_file", "password_env") if getattr(bus, name)]
    if not bus.security_protocol.startswith("SASL_"):
        if named:
            raise Refused(
                f"needs security_protocol SASL_SSL (or SASL_PLAINTEXT), not {bus.security_protocol}",
                field=f"bus.{named[0]}",
            )
        return
    if not bus.username:
        raise Refused(f"{bus.security_protocol} needs a user", field="bus.username")
    if bool(bus.password_file) == bool(bus.password_env):
        raise Refused("set exactly one of password_file and password_env", field="bus")


def _check_tls(bus: BusSettings) -> None:
    named = [
        name
        for name in ("ca_file", "cert_file", "key_file", "key_password_file")
        if getattr(bus, name)
    ]
    if named and not bus.security_protocol.endswith("SSL"):
        raise Refused(
            f"needs security_protocol SSL or SASL_SSL, not {bus.security_protocol}",
            field=f"bus.{named[0]}",
        )
    if bus.key_file and not bus.cert_file:
        raise Refused("is the key of bus.cert_file, which is not set", field="bus.key_file")
    if bus.cert_file and not bus.key_file:
        raise Refused("needs its private key in bus.key_file", field="bus.cert_file")


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(f"//{text}")
        return bool(parts.hostname) and bool(parts.port) and parts.netloc == text
    except ValueError:
        return False


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
