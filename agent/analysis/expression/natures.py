"""What is known about the types of an expression before it runs.

A nature is a type in Go's words: "" when nothing is known, `interface {}` for an item of a list of any.
"""

from typing import Final, NamedTuple

from agent.analysis.expression.kinds import ANY, go_type

NIL: Final = "nil"
_LIST: Final = "[]interface {}"


class Nature(NamedTuple):
    """A static type.

    Attributes:
        go: the type; "" is unknown, "nil" is nil itself.
        item: the nature of a list's items, where more is known than its type says.
    """

    go: str = ""
    item: "Nature | None" = None

    @property
    def unknown(self) -> bool:
        return self.go in ("", ANY)

    @property
    def nil(self) -> bool:
        return self.go == NIL

    @property
    def integer(self) -> bool:
        return self.go in ("int", "int64", "uint8")

    @property
    def number(self) -> bool:
        return self.integer or self.go == "float64"

    @property
    def array(self) -> bool:
        return self.go.startswith("[")

    @property
    def map(self) -> bool:
        return self.go.startswith("map[")

    @property
    def function(self) -> bool:
        return self.go.startswith("func")

    @property
    def kind(self) -> str:
        """The reflect.Kind: the types of one kind are alike in lists."""
        if self.array:
            return "array" if self.go.startswith("[2]") else "slice"
        if self.map:
            return "map"
        if self.function:
            return "func"
        named = {"time.Duration": "int64", "time.Month": "int", "time.Weekday": "int"}
        return "" if self.nil else named.get(self.go, self.go)

    def __str__(self) -> str:
        return "unknown" if self.go in ("", NIL) else self.go

    def items(self) -> "Nature":
        """Of the items of a list, or of the values of a map."""
        if self.item is not None:
            return self.item
        if self.array:
            return Nature(self.go[self.go.index("]") + 1 :])
        if self.map:
            return Nature(self.go[self.go.index("]") + 1 :])
        return UNKNOWN

    def keys(self) -> "Nature":
        """Of the keys of a map."""
        return Nature(self.go[4 : self.go.index("]")]) if self.map else UNKNOWN

    def assignable(self, other: "Nature") -> bool:
        if self.nil:
            return other.go == ANY or other.array or other.map or other.function
        if not self.go or not other.go or other.nil:
            return False
        return self.go == other.go or other.go == ANY

    def comparable(self, other: "Nature") -> bool:
        return (
            self.unknown
            or other.unknown
            or self.nil
            or other.nil
            or (self.number and other.number)
            or (self.array and other.array)
            or self.assignable(other)
        )


UNKNOWN: Final = Nature()
BOOL: Final = Nature("bool")
INT: Final = Nature("int")
FLOAT: Final = Nature("float64")
STRING: Final = Nature("string")
LIST: Final = Nature(_LIST)
MAP: Final = Nature("map[string]interface {}")
TIME: Final = Nature("time.Time")
DURATION: Final = Nature("time.Duration")


def list_of(item: Nature) -> Nature:
    return Nature(_LIST, item)


def nature_of(value: object) -> Nature:
    """Of a literal or of a provider's result."""
    return Nature(NIL) if value is None else Nature(go_type(value))
