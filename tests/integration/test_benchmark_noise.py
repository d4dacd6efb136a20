"""The simulated org of the noise benchmark is deterministic, and a small org has the documented properties."""

from functools import cache

import pytest

from benchmarks import noise, noise_org
from oktawatch.model.severity import Severity

BY_NAME = {mode.name: mode for mode in noise.MODES}
OTHERS = [name for name in BY_NAME if name != noise.PUBLISHED.name]


def org() -> noise_org.Org:
    """Return a small org with one attack of each kind."""
    return noise_org.Org(150, 10, lead=10, attacks=1, seed=2)


@cache
def measured(name: str) -> noise.Result:
    """Measure a mode once for all tests."""
    return noise.measure(BY_NAME[name], org())


@pytest.mark.parametrize("name", OTHERS)
def test_each_attack_that_the_published_rule_finds_is_found(name: str) -> None:
    """Every configuration finds each attack that the published rule finds."""
    assert measured(name).found >= measured(noise.PUBLISHED.name).found


def test_the_published_rule_misses_attacks_that_only_other_signals_show() -> None:
    """Residential proxies without isProxy are found only with all marks."""
    every = {attack.name for attack in org().attacks}
    assert measured(noise.PUBLISHED.name).found < measured("all marks").found <= every


def test_each_step_has_less_noise() -> None:
    """Evidence, familiarity and a longer history each reduce the number of alerts of MEDIUM and above."""
    steps = ("all marks", "with evidence", "with familiarity, no backfill", "with familiarity")
    counts = [measured(name).medium_and_above for name in steps]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 3 * counts[-1] > 0


def test_verdicts_change_the_noise() -> None:
    """Benign verdicts lower severities, and true positives reduce familiarity."""
    before, closed, attempts = (
        measured(name)
        for name in (
            "with familiarity",
            "with familiarity, alerts closed",
            "with familiarity, attempts as true positives",
        )
    )
    assert closed.noise[Severity.INFO] > before.noise[Severity.INFO]
    assert closed.medium_and_above < attempts.medium_and_above


def test_allowed_matches_make_no_noise() -> None:
    """Allow entries remove alerts of all severities, and no attack."""
    closed, allowed = (
        measured(name) for name in ("with familiarity, alerts closed", "with allow entries, alerts closed")
    )
    assert sum(allowed.noise.values()) < sum(closed.noise.values())
    assert allowed.found == closed.found


def test_the_org_is_the_same_each_time() -> None:
    """The events depend on the seed alone."""
    first, second, other = (list(noise_org.Org(20, 3, lead=2, seed=seed)) for seed in (1, 1, 2))
    assert first == second != other
    assert [day for day, _ in first] == [noise_org.START + number * noise.DAY for number in range(5)]


def documented() -> dict[str, dict[str, str]]:
    """Return the cells of the table in docs/detection.md, by row and column."""
    text = noise.DOCUMENT.read_text("utf-8").partition(noise.BEGIN)[2].partition(noise.END)[0]
    heading, _, *rows = _cells(text)
    return {row[0]: dict(zip(heading, row, strict=True)) for row in rows}


def _cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]


def test_the_table_of_seeds_has_a_row_for_each_seed() -> None:
    """Each seed has a row with the share of the alerts that remain with familiarity. The last rows summarize the shares."""
    heading, _, *rows = _cells(noise.measure_seeds(40, 2, lead=1, seeds=2))
    found = [dict(zip(heading, row, strict=True)) for row in rows]
    assert [row["seed"] for row in found] == ["1", "2", "min", "median", "max"]
    for row in found[:2]:
        published, familiar = int(row["published rule"]), int(row["with familiarity"])
        assert published > 0
        assert row["share"] == f"{familiar / published:.1%}"
        assert row["missed attacks"] == "0"
    shares = sorted((row["share"] for row in found[:2]), key=lambda share: float(share.rstrip("%")))
    assert (found[2]["share"], found[4]["share"]) == tuple(shares)


def test_the_documentation_has_the_table() -> None:
    """The table in docs/detection.md has a row for each mode and a column for each kind of attack."""
    empty = [noise.Result(mode, {}, frozenset()) for mode in noise.MODES]
    heading, _, *rows = _cells(noise.table(empty, noise_org.Org(1, 1)))
    assert list(documented()) == [row[0] for row in rows]
    assert all(list(row) == heading for row in documented().values())


def test_a_tenth_of_the_noise_finds_all_attacks() -> None:
    """With familiarity, without verdicts and allow entries, at most a tenth of the documented alerts remain, and no attack is lost."""
    rows = documented()
    published, familiar = rows[noise.PUBLISHED.name], rows[noise.FAMILIAR.name]
    assert float(familiar["MEDIUM and above"]) <= float(published["MEDIUM and above"]) / 10
    kinds = [kind.replace("_", " ") for kind in noise_org.ATTACK_KINDS]
    assert all(int(familiar[kind][0]) >= int(published[kind][0]) for kind in kinds)
