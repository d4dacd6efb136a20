"""Files of evidence are loaded, or refused with one line that names the problem."""

import tracemalloc
from pathlib import Path

import pytest

from oktawatch.detection.evidence import Evidence
from oktawatch.engine.evidence_files import EvidenceFile, load_file
from oktawatch.engine.evidence_sources import EvidenceFileError, EvidenceSources
from oktawatch.model.anonymizer_kind import AnonymizerKind


def file_of(path: Path) -> EvidenceFile:
    """Return a file of networks as the configuration describes it."""
    return EvidenceFile(name="exits", path=path, kind=AnonymizerKind.TOR, operator="Tor")


def test_a_listed_address_has_the_kind_and_operator_of_its_source(tmp_path: Path) -> None:
    """An address in a list of networks has the source's kind and operator."""
    path = tmp_path / "exits.txt"
    path.write_text("198.51.100.7\n2001:db8::/64\n")
    source = load_file(file_of(path))
    (finding,) = source.find("198.51.100.7")
    assert (finding.source, finding.kind, finding.operator) == ("exits", AnonymizerKind.TOR, "Tor")
    assert source.find("198.51.100.8") == ()


def test_loading_a_large_list_needs_little_memory(tmp_path: Path) -> None:
    """A tenth of Apple's list is loaded in 6 MB, including its text."""
    path = tmp_path / "exits.txt"
    path.write_text("".join(f"2a02:{n >> 8:x}:{n & 255:x}00::/45,NO,NO-46,Bergen,\n" for n in range(28_000)))
    tracemalloc.start()
    assert load_file(file_of(path)).size == 28_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6_000_000


def test_line_ends_and_a_byte_order_mark_are_accepted(tmp_path: Path) -> None:
    """All line ends and a byte order mark are accepted."""
    path = tmp_path / "exits.txt"
    path.write_bytes(b"\xef\xbb\xbf198.51.100.7\r\n198.51.100.8\r\n")
    source = load_file(file_of(path))
    assert source.size == 2
    assert source.find("198.51.100.7")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "exits.txt: can't read it: No such file or directory"),
        (b"\xff\xfe", "exits.txt: expected UTF-8 text"),
        (b"198.51.100.7\nnowhere\n", "exits.txt: line 2: expected an address range such as 192.0.2.0/24"),
    ],
)
def test_an_unusable_file_is_reported_with_its_line(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    """The error names the file, the line, and its place in the configuration."""
    good, bad = tmp_path / "good.txt", tmp_path / "exits.txt"
    good.write_text("")
    if content is not None:
        bad.write_bytes(content)
    with pytest.raises(EvidenceFileError) as raised:
        EvidenceSources(Evidence(), [file_of(good), file_of(bad)]).load()
    assert (str(raised.value), raised.value.index) == (problem, 1)
