"""Errors of fields, in Kubernetes' kinds and words. PURE."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from agent.traffic.types import FieldError

_WORDS: Final = {
    "FieldValueInvalid": "Invalid value",
    "FieldValueRequired": "Required value",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueNotFound": "Not found",
    "FieldValueNotSupported": "Unsupported value",
    "InternalError": "Internal error",
}


def at(field: str, index: int) -> str:
    """The field's element, e.g. `spec.strategy.steps[2]`."""
    return f"{field}[{index}]"


def invalid(field: str, value: Any, detail: str) -> FieldError:
    return FieldError(field, detail, "FieldValueInvalid", _shown(value))


def required(field: str, detail: str = "") -> FieldError:
    return FieldError(field, detail, "FieldValueRequired")


def forbidden(field: str, detail: str) -> FieldError:
    return FieldError(field, detail, "FieldValueForbidden")


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError(field, "", "FieldValueDuplicate", _shown(value))


def not_found(field: str, value: Any) -> FieldError:
    return FieldError(field, "", "FieldValueNotFound", _shown(value))


def not_supported(field: str, value: Any, supported: Sequence[str]) -> FieldError:
    names = ", ".join(json.dumps(name) for name in supported)
    detail = f"supported values: {names}"
    return FieldError(field, detail, "FieldValueNotSupported", _shown(value))


def internal(field: str, detail: str) -> FieldError:
    return FieldError(field, detail, "InternalError")


def not_negative(field: str, value: int) -> list[FieldError]:
    """An error when the number is negative."""
    return [invalid(field, value, "must be greater than or equal to 0")] if value < 0 else []


def _shown(value: Any) -> str:
    """The value for people: null, texts in quotes, numbers and truth values; "" for all else."""
    if value is None or isinstance(value, str | int):
        return json.dumps(value, ensure_ascii=False)
    return ""


def text(error: FieldError) -> str:
    """The error in one line, as Kubernetes prints it: `spec.replicas: Invalid value: -1: must be …`."""
    parts = (error.field, _WORDS.get(error.type, error.type), error.value, error.detail)
    return ": ".join(part for part in parts if part)


def invalid_spec_message(name: str, errors: Iterable[FieldError]) -> str:
    """Message of the condition InvalidSpec: the first error, as in Argo, and how many more there are."""
    first, *rest = errors
    more = f" (and {len(rest)} more)" if rest else ""
    return f'The Rollout "{name}" is invalid: {text(first)}{more}'
