"""The names under which results are stored are part of the interface."""

from __future__ import annotations

import dataclasses

import pytest

from yoto_sc import _keys
from yoto_sc._keys import DEFAULT_KEY, Keys


def test_default_names_are_the_documented_ones():
    keys = Keys()
    assert DEFAULT_KEY == "yoto"
    assert (keys.uns, keys.latent) == ("yoto", "X_yoto")
    assert (keys.selected, keys.rank, keys.score) == ("yoto_selected", "yoto_rank", "yoto_score")
    assert (keys.frequency, keys.consensus) == ("yoto_frequency", "yoto_consensus")
    assert keys.stability == "yoto_stability"
    assert keys.prediction("cell_type") == "yoto_cell_type"
    assert keys.confidence("cell_type") == "yoto_cell_type_confidence"


def test_every_name_changes_with_the_key():
    ours, theirs = (
        {k.uns, k.latent, k.selected, k.rank, k.score, k.frequency, k.consensus, k.stability}
        | {k.prediction("a"), k.confidence("a"), k.prediction("b")}
        for k in (Keys("ours"), Keys("theirs"))
    )
    assert len(ours) == len(theirs) == 11
    assert not ours & theirs


def test_tables_have_the_documented_names():
    names = [
        *(_keys.PARAMS, _keys.TASKS, _keys.HISTORY, _keys.METRICS, _keys.PATH, _keys.CONFUSION),
        *(_keys.ATTRIBUTION, _keys.WITHOUT, _keys.HELD_OUT, _keys.GROUP_HELD_OUT),
    ]
    assert names == [
        *("params", "tasks", "history", "metrics", "path", "confusion"),
        *("attribution", "without", "held_out", "group_held_out"),
    ]


def test_keys_are_frozen_and_compare_by_value():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Keys().key = "other"
    assert Keys("a") == Keys("a") != Keys("b")
