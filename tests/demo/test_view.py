"""What the demo prints."""

import io

from agent.demo.view import Frame, open_view


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_a_line_is_printed_when_something_changed() -> None:
    out = io.StringIO()
    with open_view(lambda: 0.0, out) as view:
        view.say("act 1")
        for weight in (0, 10, 10, 30):
            view.show(Frame(act="1", phase="Progressing", weight=weight, why="a pause"))
    assert out.getvalue().splitlines() == [
        "   0.0s  act 1",
        "   0.0s  Progressing, canary 0 %: a pause",
        "   0.0s  Progressing, canary 10 %: a pause",
        "   0.0s  Progressing, canary 30 %: a pause",
    ]


def test_on_a_terminal_the_state_is_drawn_with_versions_and_failures() -> None:
    out = Terminal()
    with open_view(lambda: 0.0, out) as view:
        view.say("deployed v3")
        view.show(
            Frame(
                act="bad", phase="Degraded", weight=10, answers={"v3": (10, 9)}, failed_by_switch=0
            )
        )
    drawn = out.getvalue()
    for part in ("deployed v3", "Degraded", "10 calls", "9 failed", "failed by the switch"):
        assert part in drawn


def test_a_terminal_may_be_asked_for_plain_lines() -> None:
    out = Terminal()
    with open_view(lambda: 0.0, out, plain=True) as view:
        view.say("hello")
    assert out.getvalue() == "   0.0s  hello\n"
