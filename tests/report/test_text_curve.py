"""A learning curve in letters."""

import numpy as np
import pytest

from fastsac.report.text_curve import BLOCKS, HEIGHT, PLAIN, WIDTH, text_curve


def heights(lines: list[str], blocks: str) -> list[int]:
    """Of each column, in parts of a row."""
    margin = lines[0].index("|") + 1
    rows = [line[margin : margin + WIDTH].ljust(WIDTH) for line in lines[:HEIGHT]]
    return [sum((blocks.index(row[i]) + 1 if row[i] != " " else 0) for row in rows) for i in range(WIDTH)]


@pytest.mark.parametrize("blocks", [BLOCKS, PLAIN])
def test_a_line_rises_from_the_first_part_to_the_last(blocks):
    lines = text_curve(np.array([0.0, 1000.0]), np.array([-50.0, 150.0]), 150.0, blocks)
    parts = HEIGHT * len(blocks)
    assert heights(lines, blocks) == [1 + round(i / (WIDTH - 1) * (parts - 1)) for i in range(WIDTH)]
    assert len(lines) == HEIGHT + 1
    assert lines[0].startswith("150 |")
    assert lines[HEIGHT - 1].startswith("-50 |")
    assert lines[-1].split() == ["0", "1,000", "env", "steps"]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(("mark", "row"), [(300.0, 0), (0.0, HEIGHT - 1), (152.0, HEIGHT // 2 - 1)])
def test_the_arrow_is_at_the_return_of_the_policy(mark, row):
    lines = text_curve(np.array([0.0, 10.0]), np.array([0.0, 300.0]), mark)
    assert [i for i, line in enumerate(lines) if line.endswith(f"<- {mark:,.0f}")] == [row]


def test_a_policy_beyond_the_curve_is_within_the_picture():
    lines = text_curve(np.array([0.0, 10.0]), np.array([0.0, 100.0]), 400.0)
    assert lines[0].startswith("400 |")
    assert lines[0].endswith(" <- 400")
    assert max(heights(lines, BLOCKS)) == 1 + round(0.25 * (HEIGHT * len(BLOCKS) - 1))


def test_one_evaluation_is_level_and_none_is_refused():
    lines = text_curve(np.array([5.0]), np.array([7.0]), 7.0)
    assert set(heights(lines, BLOCKS)) == {1}
    with pytest.raises(ValueError, match="at least one evaluation, got none"):
        text_curve(np.array([]), np.array([]), 7.0)
