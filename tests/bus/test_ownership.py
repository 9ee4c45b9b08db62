"""Who drives which rollout, by partitions."""

from agent.api.meta import Key
from agent.bus.ownership import PartitionOwner
from agent.bus.partition import partition_of

KEYS = [Key("shop", f"web-{number}") for number in range(50)]


def test_before_the_first_share_nothing_is_owned() -> None:
    owner = PartitionOwner()
    assert not any(owner.owns(key) for key in KEYS)
    assert not owner.holds()
    owner.assigned(frozenset({3}), 6)
    assert owner.holds()


def test_every_rollout_has_one_owner() -> None:
    first, second = PartitionOwner(), PartitionOwner()
    first.assigned(frozenset({0, 2, 4}), 6)
    second.assigned(frozenset({1, 3, 5}), 6)
    assert all(first.owns(key) != second.owns(key) for key in KEYS)
    assert 10 < sum(first.owns(key) for key in KEYS) < 40


def test_the_owner_holds_the_partition_of_the_key_s_records() -> None:
    owner = PartitionOwner()
    key = KEYS[0]
    owner.assigned(frozenset({partition_of(b"shop/web-0", 6)}), 6)
    assert owner.owns(key)
    owner.assigned(frozenset(range(6)) - {partition_of(b"shop/web-0", 6)}, 6)
    assert not owner.owns(key)


def test_listeners_hear_of_changes_only() -> None:
    owner, heard = PartitionOwner(), []
    owner.on_change(lambda: heard.append(owner.owns(KEYS[0])))
    owner.assigned(frozenset(range(6)), 6)
    owner.assigned(frozenset(range(6)), 6)
    owner.assigned(frozenset(range(6)), 12)
    owner.assigned(frozenset(), 12)
    assert heard[0] is True
    assert heard[-1] is False
    assert len(heard) == 3
