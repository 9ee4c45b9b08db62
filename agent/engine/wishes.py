"""What annotations say about how an AnalysisRun is judged."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from agent.analysis.missing import Policy, policy_for
from agent.analysis.verdict import Compat
from agent.api.names import COMPAT, MISSING_DATA
from agent.errors import Refused


class Wishes(NamedTuple):
    """How a run is judged; `missing_text` is what an annotation says, `missing` the setting below it."""

    compat: Compat
    missing_text: str
    missing: Policy

    def policy(self, metric: str) -> Policy:
        """What a measurement of this metric without data is. Raises Refused for an unreadable annotation."""
        if not self.missing_text:
            return self.missing
        try:
            return policy_for(self.missing_text, metric) or self.missing
        except Refused as error:
            raise Refused(f"annotation {MISSING_DATA}: {error.detail}") from error


def wishes(annotations: Sequence[Mapping[str, str]], default: Wishes) -> Wishes:
    """The first of the annotations that say something; else the default."""
    compat, text = default.compat, default.missing_text
    for found in reversed(annotations):
        wanted = found.get(COMPAT)
        if wanted == "argo":
            compat = "argo"
        elif wanted == "safe":
            compat = "safe"
        text = found.get(MISSING_DATA) or text
    return Wishes(compat, text, default.missing)
