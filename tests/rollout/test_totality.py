"""decide is total: whatever is in the objects, there is a decision."""

from typing import Any

import msgspec
from hypothesis import given as over
from hypothesis import settings
from hypothesis import strategies as st

from agent.rollout.decide import decide
from tests.rollout import given
from tests.rollout.world import ROUTERS

JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 200) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "spec", "weight", "image"]), inner, max_size=2)
    ),
    max_leaves=5,
)
SEED = given.updating(canary={"analysis": given.ANALYSIS})


@st.composite
def _broken(draw: st.DrawFn, obj: Any) -> Any:
    """The object with something else somewhere in it."""
    if not isinstance(obj, (dict, list)) or not obj or draw(st.integers(0, 5)) == 0:
        return draw(JUNK)
    if isinstance(obj, dict):
        key = draw(st.sampled_from(sorted(obj)))
        return {**obj, key: draw(_broken(obj[key]))}
    index = draw(st.integers(0, len(obj) - 1))
    return [*obj[:index], draw(_broken(obj[index])), *obj[index + 1 :]]


@settings(max_examples=300, deadline=None)
@over(st.data())
def test_whatever_the_objects_hold_there_is_a_decision(data: st.DataObject) -> None:
    seen = SEED.observe()
    field = data.draw(st.sampled_from(["rollout", "replica_sets", "analysis_runs", "services"]))
    changed: dict[str, Any] = {}
    if field == "rollout":
        part = data.draw(st.sampled_from(["spec", "status", "metadata"]))
        changed["rollout"] = {**seen.rollout, part: data.draw(_broken(seen.rollout[part]))}
    elif field == "services":
        name = data.draw(st.sampled_from(sorted(seen.services)))
        broken = data.draw(_broken(seen.services[name]).filter(lambda obj: isinstance(obj, dict)))
        changed["services"] = {**seen.services, name: broken}
    else:
        items = getattr(seen, field)
        broken = data.draw(_broken(items[0]).filter(lambda obj: isinstance(obj, dict)))
        changed[field] = (broken, *items[1:])
    decision = decide(msgspec.structs.replace(seen, **changed), ROUTERS)
    assert decision.status["phase"] == "Healthy" or decision.why
