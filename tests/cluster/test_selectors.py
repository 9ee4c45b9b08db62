"""Label and field selectors."""

import pytest

from agent.cluster.local import selectors
from agent.errors import Invalid

OBJECT = {
    "metadata": {
        "name": "x",
        "namespace": "n",
        "labels": {"app": "shop", "tier": "", "a.b/c": "1"},
    },
    "status": {"phase": "Running"},
}


@pytest.mark.parametrize(
    ("selector", "accepted"),
    [
        ("", True),
        ("app=shop", True),
        ("app==shop", True),
        ("app = shop", True),
        ("app=other", False),
        ("app!=other", True),
        ("absent!=x", True),
        ("absent=x", False),
        ("tier=", True),
        ("app", True),
        ("absent", False),
        ("!absent", True),
        ("! app", False),
        ("app in (shop, other)", True),
        ("app in (other)", False),
        ("app notin (other)", True),
        ("app notin (shop)", False),
        ("absent notin (x)", True),
        ("app in (shop),tier,!absent", True),
        ("app=shop,absent", False),
        ("a.b/c=1", True),
    ],
)
def test_a_label_selector(selector: str, accepted: bool) -> None:
    assert selectors.parse(selector)(OBJECT) is accepted


@pytest.mark.parametrize(
    ("selector", "accepted"),
    [
        ("metadata.name=x", True),
        ("metadata.name!=x", False),
        ("metadata.name=x,metadata.namespace==other", False),
        ("status.phase=Running", True),
        ("status.none=", True),
        ("status.phase.deep=x", False),
    ],
)
def test_a_field_selector(selector: str, accepted: bool) -> None:
    assert selectors.parse("", selector)(OBJECT) is accepted


@pytest.mark.parametrize("selector", ["a=b=c", "a in b", "a ~ b", "=x", "a in (x", "!", "a b"])
def test_nonsense_is_invalid(selector: str) -> None:
    with pytest.raises(Invalid):
        selectors.parse(selector)
    with pytest.raises(Invalid):
        selectors.parse("", "nonsense")
