"""The page's manifests as they stand there: everything that is wrong with them, and that the demo has mended it."""

from importlib import resources

from agent.demo.manifests import Setup, complete
from tests.lint.manifests import findings_in, text_of

RAW = """
7:7 SRN204 the argument 'service-name' is used by no metric
9:7 SRN221 an interval and no count: it never ends
9:7 SRN222 no failureLimit: the first failed measurement ends the run
9:7 SRN223 no consecutiveErrorLimit: error 5 in a row ends the run
11:7 SRN212 "result[0] >= 0.95" of an empty answer is an error; a few in a row abort the rollout
11:7 SRN213 "result[0] >= 0.95" of NaN (no traffic) is failed, which aborts the rollout
13:9 SRN208 not set
14:11 SRN231 empty when every call fails, for its numerator counts successes
14:11 SRN234 no label of the version: canary and stable are counted together
14:11 SRN235 no reporter: sidecars count a call twice
17:39 SRN202 <service-name> is no argument and is asked for as it stands
17:39 SRN233 destination_service=~"<service-name>.*" matches every service whose name only begins so
"""
"""Place, code, and the message behind the field."""


def page(name: str) -> str:
    return resources.files("agent.demo").joinpath("page", name).read_text()


def test_everything_wrong_with_the_raw_template_is_named() -> None:
    found = findings_in(page("analysis-template.yaml"))
    shown = [
        f"{one.line}:{one.column} {one.code} {one.message.removeprefix(f'{one.field}: ')}"
        for one in found
    ]
    assert shown == RAW.strip().splitlines()
    (placeholder,) = [one for one in found if one.code == "SRN202"]
    assert placeholder.fix == "Write {{args.service-name}} instead of <service-name>."
    assert [one.level for one in found].count("error") == 1


def test_a_step_refuses_the_template_that_never_ends_and_whose_argument_nobody_gives() -> None:
    """What Argo's controller says, once the page's Rollout is complete and at hand."""
    made = complete(Setup(namespace="default"))
    text = text_of({"rollout": made.rollout})
    (refused,) = [
        one
        for one in findings_in(text, page("analysis-template.yaml"))
        if one.code.startswith("ARG")
    ]
    assert "args.service-name was not resolved" in refused.message


def test_the_route_of_the_page_has_no_name_and_exposes_the_canary() -> None:
    assert [one.code for one in findings_in(page("virtual-service.yaml"))] == ["SRN005"]
    made = complete(Setup())
    text = text_of({"rollout": made.rollout, "route": made.virtual_service})
    (exposed,) = [one for one in findings_in(text) if one.code == "SRN305"]
    assert exposed.message.endswith("10 for the canary of Rollout demo/canary-demo")


def test_the_demo_keeps_no_error_of_the_page() -> None:
    """Its completion mends what cannot work; what the page chose stays, and is warned about."""
    found = findings_in(text_of(dict(complete(Setup())._asdict())))
    assert [one for one in found if one.level == "error"] == []
    assert {"SRN106", "SRN114", "SRN231"} <= {one.code for one in found}
