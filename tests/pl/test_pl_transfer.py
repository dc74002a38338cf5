"""The fall on the way to another assay, drawn."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import yoto_sc as yt


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "panel": ["a", "b", "a", "b"],
            "task": ["type", "type", "score", "score"],
            "metric": ["macro_f1", "macro_f1", "r2", "r2"],
            "reference": [0.9, 0.94, 0.7, 0.6],
            "query": [0.6, 0.7, 0.3, 0.2],
            "adapted": [0.7, 0.8, 0.4, 0.35],
            "ceiling": [0.8, 0.9, 0.6, 0.5],
        }
    )


def test_all_scores_are_drawn_at_their_places(table: pd.DataFrame) -> None:
    ax = yt.pl.transfer(table)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["type (macro-F1)", "a", "b", "score (R²)", "a", "b"]
    markers = {(line.get_marker(), *map(float, line.get_xydata()[0])) for line in ax.lines}
    for at, row in zip((1, 2, 4, 5), table.itertuples(), strict=True):
        for marker, score in (("X", row.query), ("|", row.ceiling), ("o", row.adapted)):
            assert (marker, score, float(at)) in markers
        assert ("o", row.reference, float(at)) in markers


def test_one_task_needs_no_heading_and_axes_are_taken(table: pd.DataFrame) -> None:
    figure, ax = plt.subplots()
    assert yt.pl.transfer(table[:2], ax=ax) is ax
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    plt.close(figure)


def test_refuses_other_tables(table: pd.DataFrame) -> None:
    with pytest.raises(TypeError, match=r"tl\.transfer returned, not a dict"):
        yt.pl.transfer(table.to_dict())
    with pytest.raises(KeyError, match="no column 'ceiling'"):
        yt.pl.transfer(table.drop(columns="ceiling"))
    with pytest.raises(ValueError, match="no row"):
        yt.pl.transfer(table[:0])
