"""Databases of addresses in MaxMind's format, written by mmdb-writer and read by maxminddb."""

from pathlib import Path
from typing import Any

import maxminddb
import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from oktawatch.detection.evidence import Evidence, EvidenceSource
from oktawatch.engine.evidence_files import EvidenceFile
from oktawatch.engine.evidence_sources import EvidenceFileError, EvidenceSources
from oktawatch.model.anonymizer_kind import AnonymizerKind as Kind
from tests.unit.detection.events import event

MAXMIND, IPINFO = "GeoIP2-Anonymous-IP", "ipinfo standard_privacy.mmdb"


def database(
    path: Path, database_type: str, records: dict[str, dict[str, Any]], version: int = 6
) -> EvidenceFile:
    """Write a database, and return it as the configuration describes it."""
    writer = MMDBWriter(version, database_type, ipv4_compatible=version == 6)
    for network, record in records.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return EvidenceFile(name=path.stem, path=path, format="mmdb")


def load_files(files: list[EvidenceFile]) -> tuple[EvidenceSource, ...]:
    """Load databases."""
    evidence = Evidence()
    EvidenceSources(evidence, files).load()
    return evidence.sources


def found(file: EvidenceFile, address: str) -> set[tuple[Kind, str | None]]:
    """Return a database's evidence about an address."""
    (source,) = load_files([file])
    return {(finding.kind, finding.operator) for finding in source.find(address)}


def test_maxmind_anonymous_ip(tmp_path: Path) -> None:
    """Each flag becomes a kind, and the provider of Anonymous Plus the operator."""
    file = database(
        tmp_path / "a.mmdb",
        MAXMIND,
        {
            "203.0.113.0/24": {"is_anonymous": True, "is_tor_exit_node": True},
            "2001:db8::/32": {"is_anonymous": True, "is_anonymous_vpn": True, "provider_name": "ExampleVPN"},
        },
    )
    assert found(file, "203.0.113.7") == {(Kind.TOR, None)}
    assert found(file, "2001:db8::7") == {(Kind.COMMERCIAL_VPN, "ExampleVPN")}
    assert found(file, "198.51.100.1") == set()


def test_ipinfo_privacy(tmp_path: Path) -> None:
    """Flags that are texts are read, and a relay in a data centre is a relay."""
    record = {"hosting": "true", "relay": "true", "vpn": "", "service": "Apple Private Relay"}
    file = database(tmp_path / "a.mmdb", IPINFO, {"203.0.113.0/24": record})
    evidence = Evidence()
    evidence.sources = load_files([file])
    classification = evidence.classify(event())
    assert (classification.kind, classification.operator) == (Kind.RELAY, "Apple Private Relay")


def test_the_worst_of_contradictory_services_wins(tmp_path: Path) -> None:
    """The worst service wins: MaxMind's residential proxy over IPinfo's and Okta's relay."""
    address = "203.0.113.0/24"
    evidence = Evidence()
    evidence.sources = load_files(
        [
            database(tmp_path / "ipinfo.mmdb", IPINFO, {address: {"relay": "true"}}),
            database(tmp_path / "maxmind.mmdb", MAXMIND, {address: {"is_residential_proxy": True}}),
        ]
    )
    tunnels = '[{"operator":"APPLE_ICLOUD_RELAY_PROXY","anonymous":true}]'
    marked = event(debugContext={"debugData": {"tunnels": tunnels}})
    assert evidence.classify(marked).kind is Kind.RESIDENTIAL_PROXY


@pytest.mark.parametrize("address", ["", "null", "203.0.113", "2001:db8::1", "x" * 1_000, "203.0.113.7\0"])
def test_values_that_the_database_cannot_contain_have_no_evidence(tmp_path: Path, address: str) -> None:
    """An IPv6 address in a database of IPv4, and a text that is not an address, have no evidence."""
    file = database(tmp_path / "a.mmdb", MAXMIND, {"203.0.113.0/24": {"is_anonymous": True}}, version=4)
    assert found(file, "203.0.113.7") == {(Kind.UNKNOWN, None)}
    assert found(file, address) == set()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "a.mmdb: can't read it: No such file or directory"),
        (b"", "a.mmdb: "),
        (b"no database", "a.mmdb: expected a database in MaxMind's format"),
    ],
)
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes | None, problem: str) -> None:
    """The error names the file and the expected format."""
    path = tmp_path / "a.mmdb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EvidenceFileError) as raised:
        load_files([EvidenceFile(name="db", path=path, format="mmdb")])
    assert str(raised.value).startswith(problem)


def test_a_database_of_cities_has_no_evidence(tmp_path: Path) -> None:
    """A database of cities contains no evidence about anonymizers."""
    file = database(tmp_path / "a.mmdb", "GeoLite2-City", {"203.0.113.0/24": {"city": "Bergen"}})
    with pytest.raises(EvidenceFileError, match="expected MaxMind Anonymous IP or IPinfo privacy detection"):
        load_files([file])


def test_a_truncated_database_never_raises_later(tmp_path: Path) -> None:
    """A truncated file is refused or contains no evidence, and never raises later."""
    file = database(
        tmp_path / "a.mmdb", MAXMIND, {f"203.0.{n}.0/24": {"is_anonymous": True} for n in range(50)}
    )
    whole = file.path.read_bytes()
    for size in range(0, len(whole), max(1, len(whole) // 40)):
        file.path.write_bytes(whole[:size])
        try:
            (source,) = load_files([file])
        except EvidenceFileError:
            continue
        source.find("203.0.7.7")


def test_a_search_tree_with_exponentially_many_paths_is_loaded(tmp_path: Path) -> None:
    """Both branches of each node lead to the next one, and the last one to nothing: 2 to the power of 60 ways."""
    file = database(
        tmp_path / "a.mmdb", MAXMIND, {f"203.0.{n}.0/24": {"is_anonymous": True} for n in range(50)}
    )
    metadata = maxminddb.open_database(file.path).metadata()
    assert metadata.record_size == 24
    content = bytearray(file.path.read_bytes())
    for node in range(60):
        branch = (node + 1 if node < 59 else metadata.node_count).to_bytes(3)
        content[6 * node : 6 * node + 6] = branch * 2
    file.path.write_bytes(content)
    (source,) = load_files([file])
    assert source.size > 60
    assert list(source.find("203.0.7.7")) == []
