"""Known answers of Kafka's own tests of murmur2 (signed there)."""

import pytest

from agent.bus.partition import murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected % 2**32


def test_a_key_stays_on_its_partition() -> None:
    assert {partition_of(b"shop/web", 8) for _ in range(3)} == {partition_of(b"shop/web", 8)}
    assert all(0 <= partition_of(str(i).encode(), 3) < 3 for i in range(100))
