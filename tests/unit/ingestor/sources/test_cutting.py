"""From placed samples to records of our own topic."""

from services.contract.batch import decode
from services.contract.series import parse_series_key, partition_of
from services.ingestor.sources import cutting
from services.ingestor.sources.cutting import cut, instance_of
from services.ingestor.sources.decode import Decoder
from tests.unit.ingestor.sources.worlds import LIMITS, NOW, given, mapped


def sequences(payload: bytes) -> list[int]:
    own = decode(payload).sequences
    assert own is not None
    return [int(number) for number in own]


BY_HOST = {"metric": "m", "value": "$.v", "labels": {"host": "$.host"}}


def test_every_sample_is_in_the_partition_of_its_series_once_and_in_order() -> None:
    values = [{"v": i, "host": f"h{i % 7}"} for i in range(100)]
    placed = Decoder(mapped(BY_HOST), 4, LIMITS).decode(given(*values), NOW).placed
    found = []
    for made in cut(placed, 42, "orders", NOW + 5):
        batch = decode(made.payload)
        assert (batch.instance, batch.source, batch.ingest_ms, made.samples) == (42, "orders", NOW + 5, len(batch.series))
        assert batch.sequences is not None
        assert all(partition_of(key, 4) == made.partition for key in batch.keys)
        hosts = [parse_series_key(batch.keys[i])[1]["host"] for i in batch.series.tolist()]
        found += list(zip(batch.sequences.tolist(), hosts, batch.values.tolist(), strict=True))
    assert sorted(found) == [(i << 20, f"h{i % 7}", float(i)) for i in range(100)]


def test_records_are_cut_where_they_would_be_too_large() -> None:
    values = [{"v": i, "host": "x" * 1000 + str(i)} for i in range(2_000)]
    placed = Decoder(mapped(BY_HOST), 1, LIMITS).decode(given(*values), NOW).placed
    made = cut(placed, 1, "orders", NOW)
    assert len(made) > 2
    assert all(len(it.payload) <= cutting.RECORD_BYTES for it in made)
    numbers = [number for it in made for number in sequences(it.payload)]
    assert numbers == sorted(numbers)
    assert len(numbers) == 2_000


def test_starts_go_with_their_samples_and_a_record_without_any_has_no_column_of_them() -> None:
    values = [{"v": i, "host": f"h{i % 7}", "since": NOW - i if i % 7 < 3 else None} for i in range(70)]
    placed = Decoder(mapped(BY_HOST | {"kind": "counter", "start": "$.since"}), 4, LIMITS).decode(given(*values), NOW).placed
    found: dict[float, int] = {}
    for made in cut(placed, 1, "orders", NOW):
        batch = decode(made.payload)
        found |= dict(
            zip(batch.values.tolist(), [0] * made.samples if batch.starts is None else batch.starts.tolist(), strict=True)
        )
    assert found == {float(i): NOW - i if i % 7 < 3 else 0 for i in range(70)}
    unknown = Decoder(mapped(BY_HOST), 4, LIMITS).decode(given(*values), NOW).placed
    assert all(decode(made.payload).starts is None for made in cut(unknown, 1, "orders", NOW))


def test_nothing_is_cut_of_nothing() -> None:
    assert cut(Decoder(mapped(BY_HOST), 4, LIMITS).decode([], NOW).placed, 1, "orders", NOW) == []


def test_an_instance_is_the_same_for_whoever_reads_and_another_for_another_log() -> None:
    mine = instance_of("orders", "t", 3, "aa")
    assert mine == instance_of("orders", "t", 3, "aa")
    others = {
        instance_of("other", "t", 3, "aa"),
        instance_of("orders", "u", 3, "aa"),
        instance_of("orders", "t", 4, "aa"),
        instance_of("orders", "t", 3, "ab"),
    }
    assert len(others | {mine}) == 5
    assert 0 <= mine < 2**64
