"""A fetched file replaces the current one only if it is usable and has not shrunk."""

import gzip
import io
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from oktawatch.engine.evidence_updates import EvidenceUpdateError
from oktawatch.model.anonymizer_kind import AnonymizerKind as Kind
from tests.support.fetched_evidence import DAY, NOW, OLD, size_of, source_of, update
from tests.support.publisher import Publisher


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "the fetched file is empty"),
        ("# nothing\n\n", "the fetched file is empty"),
        ("\n<!DOCTYPE html><html>Sign in</html>", "the server sent a web page instead of the file"),
        (OLD + "nowhere\n", "the fetched file can't be used: line 11: expected an address range"),
        (b"\xff\xfe", "the fetched file can't be used: expected UTF-8 text"),
        (
            "203.0.113.1\n203.0.113.2\n203.0.113.3\n203.0.113.4\n",
            "has shrunk by more than half, from 10 to 4 entries",
        ),
        (gzip.compress(OLD.encode(), mtime=0)[:-9], "can't be used: expected a complete gzip file"),
    ],
)
async def test_an_unusable_file_does_not_replace_the_current_one(
    publisher: Publisher, tmp_path: Path, content: str | bytes, problem: str
) -> None:
    """An unusable file doesn't replace the current one or its ETag. The state has the reason, and no text of the file."""
    source = source_of(publisher, tmp_path)
    await update(source)
    publisher.publish(content, etag='"two"')
    with pytest.raises(EvidenceUpdateError, match=problem):
        await update(source, DAY)
    assert size_of(source) == 10
    state = source.inspect(NOW + DAY)
    assert (state.word, state.size, state.checked_at) == ("failing", 10, NOW)
    assert problem in str(state.problem)
    assert "Sign in" not in str(state.problem)
    publisher.publish(OLD, etag='"one"')
    assert await update(source, 2 * DAY) is False
    assert publisher.requests[-1]["If-None-Match"] == '"one"'
    assert source.inspect(NOW + 2 * DAY).word == "ok"


async def test_a_list_may_lose_half_of_its_entries(publisher: Publisher, tmp_path: Path) -> None:
    """A list may lose up to half of its entries, and the first list may have any size."""
    source = source_of(publisher, tmp_path)
    await update(source)
    publisher.publish("".join(f"192.0.2.{n}\n" for n in range(5)))
    assert await update(source)
    assert size_of(source) == 5


async def test_a_shrunken_file_is_accepted_once_the_folder_is_deleted(
    publisher: Publisher, tmp_path: Path
) -> None:
    """A shrunken file is accepted after its folder was deleted, as the error advises."""
    source = source_of(publisher, tmp_path)
    await update(source)
    publisher.publish("192.0.2.1\n")
    with pytest.raises(EvidenceUpdateError, match=f"delete {source.file.path} to accept it"):
        await update(source)
    shutil.rmtree(source.file.path)
    assert await update(source)
    assert size_of(source) == 1


def database(networks: int) -> bytes:
    """Return a database in MaxMind's format with a number of networks."""
    writer = MMDBWriter(4, "GeoIP2-Anonymous-IP")
    for number in range(networks):
        writer.insert_network(
            IPSet([f"203.0.{number}.0/24"]), {"is_anonymous": True, "is_tor_exit_node": True}
        )
    with tempfile.NamedTemporaryFile() as file:
        writer.to_db_file(file.name)
        return Path(file.name).read_bytes()


def archive(name: str, content: bytes) -> bytes:
    """Return a compressed archive like MaxMind's."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for member, text in (("GeoIP2/README.txt", b"x" * 2_000), (f"GeoIP2/{name}", content)):
            info = tarfile.TarInfo(member)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    return file.getvalue()


@pytest.mark.parametrize("packed", ["plain", "gzip", "tar"])
async def test_a_database_can_be_plain_compressed_or_archived(
    publisher: Publisher, tmp_path: Path, packed: str
) -> None:
    """A database is accepted uncompressed, compressed, or in an archive like MaxMind's."""
    content = database(100)
    pack: dict[str, Callable[[bytes], bytes]] = {
        "plain": bytes,
        "gzip": gzip.compress,
        "tar": partial(archive, "GeoIP2-Anonymous-IP.mmdb"),
    }
    publisher.publish(pack[packed](content))
    source = source_of(publisher, tmp_path, format="mmdb")
    assert await update(source)
    loaded = source.load().source
    assert loaded is not None
    assert [finding.kind for finding in loaded.find("203.0.50.1")] == [Kind.TOR]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (database(0), "the fetched file is empty"),
        (database(10), "has shrunk by more than half"),
        (database(100)[:-500], "expected a database in MaxMind's format"),
        (archive("GeoIP2.csv", b"x"), r"expected a database \(.mmdb\) in the archive"),
        (b"<HTML>", "the server sent a web page instead of the file"),
        (b"nothing", "expected a database in MaxMind's format"),
        (b"", "can't be used"),
    ],
)
async def test_an_unusable_database_does_not_replace_the_current_one(
    publisher: Publisher, tmp_path: Path, content: bytes, problem: str
) -> None:
    """The same rules apply to databases."""
    publisher.publish(database(100))
    source = source_of(publisher, tmp_path, format="mmdb")
    await update(source)
    publisher.publish(content)
    with pytest.raises(EvidenceUpdateError, match=problem):
        await update(source)
    loaded = source.load().source
    assert loaded is not None
    assert loaded.find("203.0.50.1")


async def test_a_damaged_file_is_fetched_again(publisher: Publisher, tmp_path: Path) -> None:
    """A damaged file is fetched again without conditional headers."""
    source = source_of(publisher, tmp_path)
    await update(source)
    name = source.state().file
    assert name is not None
    (source.file.path / name).write_text("garbage")
    assert source.load().problem == "line 1: expected an address range such as 192.0.2.0/24"
    assert source.load() == (None, None, None)
    assert source.inspect(NOW).word == "missing"
    assert source.is_due(NOW)
    assert await update(source)
    assert "If-None-Match" not in publisher.requests[-1]
    assert size_of(source) == 10
