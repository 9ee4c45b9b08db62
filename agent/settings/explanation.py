"""The settings as a page for people."""

from typing import Any, get_type_hints

import msgspec

from agent.settings.sections import Settings, element_of


def explain() -> str:
    """All settings with defaults and meanings, as Markdown; docs/settings.md is this text."""
    lines = [
        "# Settings",
        "",
        "A YAML file (`serinus run --config FILE`), then environment variables `SERINUS_<SECTION>__<FIELD>`;",
        "the later one wins. Lists in the environment are comma-separated. Secrets are read from files or from",
        "the environment variables that are named here.",
    ]
    for section in Settings.__struct_fields__:
        lines += ["", f"## {section}", "", "| field | default | meaning |", "|---|---|---|"]
        lines += _rows(get_type_hints(Settings)[section])
    return "\n".join(lines) + "\n"


def _rows(kind: type[Any]) -> list[str]:
    rows = []
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        meaning = next(
            m.description for m in hints[field.name].__metadata__ if isinstance(m, msgspec.Meta)
        )
        default = "" if field.default is msgspec.NODEFAULT else field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        shown = (
            f"`{msgspec.json.encode(default).decode()}`" if default not in ("", (), None) else ""
        )
        rows.append(f"| `{field.name}` | {shown} | {meaning} |")
        nested = element_of(field.type)
        if nested is not None:
            rows += [row.replace("| `", f"| `{field.name}[].", 1) for row in _rows(nested)]
    return rows
