"""Reading JSON and Kubernetes objects into typed structs."""

from typing import Any, TypeVar

import msgspec

from agent.errors import Refused

T = TypeVar("T")


def parse_json(text: bytes | str) -> Any:
    """JSON from outside. Raises Refused for what is none, and for what is nested too deeply to be read."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused(f"not JSON: {error}") from error
    except RecursionError as error:
        raise Refused("not JSON that can be read: it is nested too deeply") from error


def read(cls: type[T], obj: Any) -> T:
    """`obj` (decoded JSON) as `cls`.

    A JSON null counts as an absent field, as in Kubernetes. Raises Refused with the field's path
    when a value has the wrong type.
    """
    try:
        return msgspec.convert(obj, cls)
    except msgspec.ValidationError:
        try:
            return msgspec.convert(_without_nulls(obj), cls)
        except msgspec.ValidationError as error:
            detail, _, path = str(error).partition(" - at `$")
            field = path.rstrip("`").lstrip(".").split("`")[0]
            raise Refused(detail, field=field) from error


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def write(value: msgspec.Struct) -> dict[str, Any]:
    """The struct as decoded JSON; fields at their defaults are left out."""
    built: dict[str, Any] = msgspec.to_builtins(value)
    return built
