"""Prometheus' text, as prometheus_client writes it, read into samples."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from services.collector.exposition import Reader


def read(registry: CollectorRegistry) -> dict[tuple[str, str], tuple[float, str]]:
    found = Reader("gw").read(generate_latest(registry).decode())
    return {(sample.metric, sample.labels.get("l", "")): (sample.value, sample.kind) for sample in found}


def test_counters_gauges_and_the_sums_and_counts_of_histograms_are_read() -> None:
    registry = CollectorRegistry()
    Counter("tideboard_gw_frames_total", "x", ["l"], registry=registry).labels("a").inc(3)
    Gauge("tideboard_gw_viewers", "x", registry=registry).set(7)
    histogram = Histogram("tideboard_gw_tick_seconds", "x", registry=registry)
    histogram.observe(0.5)
    histogram.observe(1.5)
    Summary("tideboard_gw_size_bytes", "x", registry=registry).observe(9)
    Counter("process_cpu_seconds_total", "x", registry=registry).inc(1.25)
    Gauge("process_resident_memory_bytes", "x", registry=registry).set(1e6)
    Gauge("process_open_fds", "not wanted", registry=registry).set(1)
    Counter("python_gc_objects_collected_total", "not wanted", registry=registry).inc()
    assert read(registry) == {
        ("tideboard_gw_frames_total", "a"): (3.0, "counter"),
        ("tideboard_gw_viewers", ""): (7.0, "gauge"),
        ("tideboard_gw_tick_seconds_sum", ""): (2.0, "counter"),
        ("tideboard_gw_tick_seconds_count", ""): (2.0, "counter"),
        ("tideboard_gw_size_bytes_sum", ""): (9.0, "counter"),
        ("tideboard_gw_size_bytes_count", ""): (1.0, "counter"),
        ("process_cpu_seconds_total", ""): (1.25, "counter"),
        ("process_resident_memory_bytes", ""): (1e6, "gauge"),
    }


def test_every_sample_says_which_service_it_is_of() -> None:
    registry = CollectorRegistry()
    Counter("tideboard_a_total", "x", ["l"], registry=registry).labels("v").inc()
    (sample,) = Reader("ingestor").read(generate_latest(registry).decode())
    assert sample.labels == {"service": "ingestor", "l": "v"}


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=12), min_size=1, max_size=5, unique=True))
def test_labels_are_read_as_the_library_reads_them(values: list[str]) -> None:
    registry = CollectorRegistry()
    gauge = Gauge("tideboard_x", "x", ["l"], registry=registry)
    for number, value in enumerate(values):
        gauge.labels(value).set(number)
    text = generate_latest(registry).decode()
    wanted = {sample.labels["l"]: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
    assert {sample.labels["l"]: sample.value for sample in Reader("s").read(text)} == wanted


def test_values_that_are_no_finite_numbers_are_left_out() -> None:
    text = "# TYPE tideboard_x gauge\ntideboard_x NaN\ntideboard_y +Inf\ntideboard_z 1\ntideboard_w what\ntideboard_v\n"
    assert [(sample.metric, sample.value) for sample in Reader("s").read(text)] == [("tideboard_z", 1.0)]


def test_reading_again_gives_the_new_values_of_the_same_series() -> None:
    reader = Reader("s")
    text = '# TYPE tideboard_x counter\ntideboard_x{l="a b"} %d\n'
    first, again = list(reader.read(text % 1)), list(reader.read(text % 2))
    assert [first[0].value, again[0].value] == [1.0, 2.0]
    assert first[0].labels == again[0].labels == {"service": "s", "l": "a b"}


@given(st.text(max_size=200))
def test_any_text_is_read_without_harm(text: str) -> None:
    for sample in Reader("s").read("tideboard_" + text):
        assert sample.metric.startswith("tideboard_")
