"""What a check says, and where. PURE."""

from typing import Final, Literal

import msgspec

Level = Literal["error", "warning"]
LEVELS: Final[tuple[Level, ...]] = ("warning", "error")
"""From the lesser to the greater."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One finding.

    Attributes:
        code: stable; agent.lint.codes says what it means.
        message: one line that names the field.
        fix: what to do.
        field: path in the object, such as `spec.strategy.canary.steps[2].setWeight`; "" for all of it.
        object: `Rollout shop/web`, "" for a text that is no object.
        file: as it was named, `-` for standard input; "" for an object of the cluster.
        line, column: from 1; 0 where there is no text.
    """

    code: str
    level: Level
    message: str
    fix: str
    field: str = ""
    object: str = ""
    file: str = ""
    line: int = 0
    column: int = 0

    @property
    def place(self) -> str:
        """`file:line:column`, as editors and terminals read it."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


def worst(findings: "list[Finding] | tuple[Finding, ...]") -> Level | None:
    """The greatest level among them; None without any."""
    return max((finding.level for finding in findings), key=LEVELS.index, default=None)
