"""Resource quantities (`500m`, `1Gi`, `2e3`) as Kubernetes writes them back. PURE.

Kubernetes reads a quantity into a number and a notation. It writes most of them in a canonical form, but
keeps the text where a quick look says that it is canonical already; the look errs (`+2` stays), and pod-template
hashes depend on it. Source of the rules: k8s.io/apimachinery, pkg/api/resource (1.34).
"""

import re
from enum import Enum
from fractions import Fraction
from typing import Final, NamedTuple

_TEXT: Final = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?"
    r"(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+|)",
    re.ASCII,
)
_DECIMAL: Final = {
    "n": -9,
    "u": -6,
    "m": -3,
    "": 0,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
    "P": 15,
    "E": 18,
}
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_NANO: Final = -9
_INT64: Final = 2**63 - 1
_DIGITS: Final = 18
"""As many decimal digits surely fit into 64 bits."""


class _Notation(Enum):
    DECIMAL = "decimal"
    EXPONENT = "exponent"
    BINARY = "binary"


class _Amount(NamedTuple):
    """mantissa * 10 ** exponent. `text` is kept as it was written; "" when it is to be made anew."""

    mantissa: int
    exponent: int
    notation: _Notation
    text: str = ""


def canonical(text: str) -> str:
    """The quantity as Kubernetes writes it. Raises ValueError when it is none."""
    if text == "0":
        return text
    amount = _parse(text)
    if amount.text:
        return amount.text
    if amount.mantissa == 0:
        return "0"
    if amount.notation is _Notation.BINARY:
        mantissa, exponent = amount.mantissa, amount.exponent
        whole = mantissa * 10**exponent if exponent >= 0 else None
        if whole is None and mantissa % 10**-exponent == 0:
            whole = mantissa // 10**-exponent
        # Small or broken numbers are shown in decimals, which loses nothing.
        if whole is not None and abs(whole) >= 1024:
            return _in_binary(whole)
    return _in_decimals(amount)


def _in_binary(value: int) -> str:
    suffixes = ["", *_BINARY]
    power = 0
    while value % 1024 == 0 and power + 1 < len(suffixes):
        value //= 1024
        power += 1
    return f"{value}{suffixes[power]}"


def _in_decimals(amount: _Amount) -> str:
    """Without trailing zeros, the exponent a multiple of three."""
    mantissa, exponent = amount.mantissa, amount.exponent
    while mantissa % 10 == 0:
        mantissa //= 10
        exponent += 1
    mantissa, exponent = mantissa * 10 ** (exponent % 3), exponent - exponent % 3
    if amount.notation is _Notation.EXPONENT:
        return f"{mantissa}e{exponent}" if exponent else str(mantissa)
    suffix = next((key for key, value in _DECIMAL.items() if value == exponent), "")
    return f"{mantissa}{suffix}"


def _parse(text: str) -> _Amount:
    match = _TEXT.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"{text!r} is not a quantity such as 500m, 1Gi or 2e3")
    whole = match["whole"].lstrip("0") or "0"
    fraction = match["fraction"] or ""
    sign = -1 if match["sign"] == "-" else 1
    suffix = match["suffix"]
    if suffix in _BINARY:
        return _binary(text, sign, whole, fraction, _BINARY[suffix])
    if suffix in _DECIMAL:
        return _decimal(text, sign, whole, fraction, _DECIMAL[suffix], _Notation.DECIMAL)
    power = int(suffix[1:])
    if not -(2**31) <= power < 2**31:
        raise ValueError(f"{text!r} has an exponent out of range")
    return _decimal(text, sign, whole, fraction, power, _Notation.EXPONENT)


def _decimal(
    text: str, sign: int, whole: str, fraction: str, power: int, notation: _Notation
) -> _Amount:
    digits = whole + fraction
    exponent = power - len(fraction)
    if len(digits) <= _DIGITS and exponent >= _NANO:
        kept = exponent % 3 == 0 and not digits.endswith("000") and not digits.startswith("0")
        return _Amount(sign * int(digits), exponent, notation, text if kept else "")
    mantissa, exponent = _rounded(int(digits), exponent)
    return _Amount(sign * mantissa, exponent, notation)


def _binary(text: str, sign: int, whole: str, fraction: str, power: int) -> _Amount:
    if not fraction and 14 - len(whole) - int(power * 3 / 10) >= 0:
        value = int(whole)
        if value << power <= _INT64:
            kept = value & 7 != 0
            return _Amount(sign * value << power, 0, _Notation.BINARY, text if kept else "")
    exponent = -len(fraction)
    mantissa, exponent = _rounded(int(whole + fraction) << power, exponent)
    if mantissa > _INT64 * 10**-exponent:
        mantissa, exponent = _INT64, 0
    notation = _Notation.BINARY
    if 0 < mantissa < 10**-exponent:
        notation = _Notation.DECIMAL
    return _Amount(sign * mantissa, exponent, notation)


def _rounded(mantissa: int, exponent: int) -> tuple[int, int]:
    """Rounded up to whole billionths: who asks for something gets something."""
    if exponent >= _NANO or mantissa == 0:
        return mantissa, exponent
    cut = _NANO - exponent
    if cut > len(str(mantissa)):
        return 1, _NANO
    return -(-mantissa // 10**cut), _NANO


def amount(text: str) -> Fraction:
    """The exact number, for comparisons. Raises ValueError when the text is no quantity.

    Powers of ten beyond 1000 count as 1000: nobody has that much, and the number must stay small.
    """
    parsed = _parse(text)
    return parsed.mantissa * Fraction(10) ** max(-1000, min(1000, parsed.exponent))
