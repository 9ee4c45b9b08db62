"""When the proxies may be trusted to have learnt of the present weight. PURE."""

from datetime import datetime, timedelta

from agent.rollout.draft import Draft
from agent.rollout.facts import Facts


def drained(draft: Draft) -> bool:
    """Whether nobody follows the exposure before the present one any more; names the wait when not."""
    facts = draft.facts
    if facts.router is None:
        return True
    at = drained_at(facts)
    if at is None or at > facts.now:
        draft.wait(facts.unconfirmed or "waits for the proxies to drain", at)
        return False
    return True


def drained_at(facts: Facts) -> datetime | None:
    """From when on; None until the exposure was read back, and its routes' status confirms it."""
    seconds = facts.policy.drain_seconds
    if facts.unconfirmed:
        return None
    if seconds <= 0:
        return facts.now
    return facts.settled_since + timedelta(seconds=seconds) if facts.settled_since else None
