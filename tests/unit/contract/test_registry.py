"""The registry's entries: a dashboard as its owner last wrote it."""

from typing import Any

import msgspec
import pytest

from services.contract.registry import VERSION, Entry, Fault, decode_entry, encode_entry

GOOD: dict[str, Any] = {
    "apiVersion": "tideboard.dev/v1alpha1",
    "kind": "Dashboard",
    "metadata": {"name": "host"},
    "spec": {"title": "This machine", "panels": []},
}


@pytest.mark.parametrize(
    "entry",
    [
        Entry(VERSION, "host", "abc", GOOD, "host.yaml"),
        Entry(VERSION, "host", "abc", None, "host.yaml", Fault("spec.panels[0].type", "is wrong", 7, "host.yaml")),
        Entry(VERSION, "host", "abc", GOOD, "host.yaml", Fault("", "is no YAML")),
    ],
)
def test_entries_round_trip(entry: Entry) -> None:
    assert decode_entry(encode_entry(entry)) == entry


def test_an_entry_gives_its_dashboard() -> None:
    dashboard = Entry(VERSION, "host", "abc", GOOD, "host.yaml").dashboard()
    assert dashboard is not None
    assert dashboard.title == "This machine"


@pytest.mark.parametrize("document", [None, {}, GOOD | {"apiVersion": "tideboard.dev/v2"}, GOOD | {"spec": {"panels": [{}]}}])
def test_a_document_that_this_version_cannot_read_is_no_dashboard(document: dict[str, Any] | None) -> None:
    """A later release may have written it; the rest keep working."""
    assert Entry(VERSION, "host", "abc", document, "host.yaml").dashboard() is None


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"{}", b'{"version":"1"}', encode_entry(Entry(1, "a", "b", None, "c"))[:-1]]
)
def test_bytes_that_are_no_entry_are_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_entry(data)


def test_fields_that_a_later_version_adds_are_passed_over() -> None:
    entry = Entry(VERSION, "host", "abc", GOOD, "host.yaml")
    data = msgspec.json.encode(msgspec.json.decode(encode_entry(entry)) | {"later": 1})
    assert decode_entry(data) == entry
