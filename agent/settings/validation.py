"""What the types of the fields cannot say: which settings go together, and what a value must look like."""

import ipaddress
import math
from urllib.parse import urlsplit

import msgspec

from agent.errors import Refused
from agent.settings.sections import DOORS, Settings


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
