"""A table with one line for each row, cut to the width of the terminal."""

from hypothesis import given
from hypothesis import strategies as st

from oktawatch.cli.one_line_table import Column, fitted_widths

columns = st.lists(
    st.tuples(st.integers(1, 40), st.none() | st.integers(1, 10), st.booleans()), min_size=1, max_size=8
)


@given(columns, st.integers(1, 200))
def test_a_row_fits_if_it_can(drawn: list[tuple[int, int | None, bool]], total: int) -> None:
    """Columns shrink to their minimum, then optional columns are left out."""
    laid_out = [
        Column(heading="", min_width=min_width, optional=optional) for _, min_width, optional in drawn
    ]
    natural = [width for width, _, _ in drawn]
    widths = fitted_widths(laid_out, natural, total)

    minimum = [width if low is None else min(low, width) for width, low, _ in drawn]
    kept = [width for width in widths if width]
    assert all(
        width in {0, *range(low, wide + 1)} for width, low, wide in zip(widths, minimum, natural, strict=True)
    )
    assert all(width for width, (_, _, optional) in zip(widths, drawn, strict=True) if not optional)
    if any(0 < width < wide for width, wide in zip(widths, natural, strict=True)):
        assert sum(kept) + len(kept) - 1 >= total  # a cut table uses the complete width
    mandatory = [low for low, (_, _, optional) in zip(minimum, drawn, strict=True) if not optional]
    if sum(mandatory) + len(mandatory) - 1 <= total:
        assert sum(kept) + len(kept) - 1 <= total


@given(columns)
def test_a_wide_terminal_cuts_nothing(drawn: list[tuple[int, int | None, bool]]) -> None:
    """A wide terminal shows every column completely."""
    laid_out = [
        Column(heading="", min_width=min_width, optional=optional) for _, min_width, optional in drawn
    ]
    natural = [width for width, _, _ in drawn]
    assert fitted_widths(laid_out, natural, 1_000) == natural
