"""docs/settings.md and --help say what the settings classes say."""

from services.local.catalog import sections
from services.local.settings_page import page
from services.local.usage import usage
from services.runtime.settings import describe
from tests.servers import ROOT


def test_the_committed_page_is_the_printed_one() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == page(), "make docs writes it"


def test_no_variable_means_two_things() -> None:
    found = [described.env for section in sections() for cls in section.classes for described, _ in describe(cls)]
    assert len(found) == len(set(found))
    assert "TIDEBOARD_GATEWAY_PORT" in found


def test_every_setting_has_a_sentence_and_the_page_names_no_machine() -> None:
    for section in sections():
        for cls in section.classes:
            for described, _ in describe(cls):
                assert len(described.help) > 10, described.env
    assert str(ROOT) not in page()


def test_help_of_a_target_lists_what_it_reads_and_not_what_others_read() -> None:
    assert "--gateway-port" in usage("gateway")
    assert "--redis-url" in usage("gateway")
    assert "--ingestor-port" not in usage("gateway")
    assert "--ingestor-port" in usage("--help")
