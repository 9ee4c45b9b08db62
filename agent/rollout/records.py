"""Core Events: how a reason becomes the name of a notification trigger. PURE."""

import re
from typing import Final

_CAPITALISED_WORD: Final = re.compile(r"(.)([A-Z][a-z]+)")
_CAPITAL: Final = re.compile(r"([a-z0-9])([A-Z])")


def notification_trigger(reason: str) -> str:
    """The name under which subscriptions ask for events of that reason: `on-step-completed`.

    The rule is Argo's; runs of capitals stay together (`BGPause` is `on-bg-pause`).
    """
    text = _CAPITALISED_WORD.sub(r"\1-\2", reason)
    return "on-" + _CAPITAL.sub(r"\1-\2", text).lower()
