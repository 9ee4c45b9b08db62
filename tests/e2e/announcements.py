"""What an agent announced, wherever it was collected: events, each once, and what a run of them must be."""

from collections import Counter
from typing import Any

import msgspec

Essence = tuple[Any, ...]
"""(transition, before, after) of weights, (transition, index, "") of a step, (transition, "", "") else."""


class Announcements:
    """CloudEvents (structured mode) in the order of their arrival."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.events: list[dict[str, Any]] = []

    def take(self, body: bytes) -> None:
        """One event, which may have come before."""
        self.events.append(msgspec.json.decode(body))
        self.bodies.append(body)

    async def until_caught_up(self) -> None:
        """Wait until all that is published by now was taken; where it is sent straight here, it was."""

    def of_type(self, transition: str, name: str = "") -> list[dict[str, Any]]:
        """Events of `dev.serinus.rollout.<transition>.v1`, of one rollout or of all, each id once."""
        wanted = f"dev.serinus.rollout.{transition}.v1"
        found = {
            event["id"]: event
            for event in self.events
            if event["type"] == wanted and name in ("", event["data"]["name"])
        }
        return list(found.values())

    def told_once(self, name: str = "") -> Counter[Essence]:
        """The transitions of one rollout, or of all; I5: no id has two contents."""
        contents: dict[str, bytes] = {}
        for event, body in zip(self.events, self.bodies, strict=True):
            first = contents.setdefault(event["id"], body)
            assert first == body, f"id {event['id']} has two contents"
        by_id = {
            event["id"]: event
            for event in self.events
            # What an agent says of itself is of no rollout.
            if event["type"].startswith("dev.serinus.rollout.")
            and name in ("", event["data"]["name"])
        }
        return Counter(essence(event) for event in by_id.values())


def essence(event: dict[str, Any]) -> Essence:
    """What an event says, without ids and times."""
    transition = event["type"].split(".")[-2]
    data = event["data"]
    if transition in ("weight", "rolledback"):
        weights = data["weights"]
        return transition, weights.get("before", 0), weights.get("after", 0)
    if transition == "step":
        return transition, data["step"].get("index", 0), ""
    return transition, "", ""


def promoted(steps: list[dict[str, Any]]) -> Counter[Essence]:
    """What the run of one version through these steps tells, each once, from `started` to `completed`."""
    told: Counter[Essence] = Counter({("started", "", ""): 1, ("promoted", "", ""): 1})
    told["completed", "", ""] += 1
    weight = 0
    for index, step in enumerate(steps):
        told["step", index, ""] += 1
        if "setWeight" in step:
            told["weight", weight, step["setWeight"]] += 1
            weight = step["setWeight"]
        elif "pause" in step:
            told["paused", "", ""] += 1
            told["resumed", "", ""] += 1
        elif "analysis" in step:
            told["analysis", "", ""] += 1
    if weight != 100:
        told["weight", weight, 100] += 1
    told["weight", 100, 0] += 1
    return told
