"""Settings from a YAML file, then from the environment; secrets from the files and variables they name."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_origin, get_type_hints

import msgspec

from agent.errors import Refused
from agent.settings.sections import Settings, element_of
from agent.settings.validation import check

PREFIX: Final = "SERINUS_"


def load(path: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings in force. Raises Refused with the field and the fix."""
    environment = os.environ if environment is None else environment
    raw = _overlaid(_file(path), environment)
    try:
        settings = msgspec.convert(raw, Settings)
    except msgspec.ValidationError as error:
        detail, _, where = str(error).partition(" - at `")
        if where.startswith("key` in `"):
            detail, where = "names of fields are text", where.removeprefix("key` in `")
        raise Refused(
            f"{detail} (see `serinus settings explain`)",
            field=where.strip("`").removeprefix("$").strip(".") or "--config",
        ) from error
    check(settings)
    return settings


def secret(
    *, file: str = "", env: str = "", environment: Mapping[str, str] | None = None, field: str
) -> str:
    """A secret by the file or the variable that holds it; "" when neither is named.

    Raises Refused when it cannot be read or is empty.
    """
    environment = os.environ if environment is None else environment
    if file:
        try:
            value = Path(file).read_text().strip()
        except OSError as error:
            raise Refused(f"cannot read {file}: {error.strerror or error}", field=field) from error
        except UnicodeDecodeError as error:
            raise Refused(f"{file} is no text", field=field) from error
    elif env:
        value = environment.get(env, "").strip()
    else:
        return ""
    if not value:
        raise Refused(f"{file or f'environment variable {env}'} is empty", field=field)
    return value


def _file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        raw = msgspec.yaml.decode(path.read_bytes())
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror or error}", field="--config") from error
    except msgspec.DecodeError as error:
        raise Refused(f"{path} is not YAML: {error}", field="--config") from error
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise Refused(f"{path} must be a mapping of sections", field="--config")
    return raw


def _overlaid(raw: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    # A section whose fields are all commented out is null in YAML.
    result = {
        name: dict(value or {}) if isinstance(value, dict | None) else value
        for name, value in raw.items()
    }
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or "__" not in variable:
            continue
        section, _, field = variable.removeprefix(PREFIX).lower().partition("__")
        kind = get_type_hints(Settings).get(section)
        known = {} if kind is None else get_type_hints(kind)
        if field not in known:
            raise Refused("is no setting (see `serinus settings explain`)", field=variable)
        if not isinstance(result.setdefault(section, {}), dict):
            raise Refused("must be a mapping of fields", field=section)
        result[section][field] = _parsed(text, known[field], variable)
    return result


def _parsed(text: str, kind: Any, variable: str) -> Any:
    if kind is str or get_origin(kind) is Literal:
        return text
    if get_origin(kind) is tuple:
        if element_of(kind) is not None:
            raise Refused("a list of objects can only stand in the file", field=variable)
        return [item.strip() for item in text.split(",")] if text else []
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Refused(str(error), field=variable) from error
