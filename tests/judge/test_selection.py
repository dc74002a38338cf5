"""What a training came to, written down and read back."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from yoto_sc import Panel
from yoto_sc.judge import Selection


@pytest.fixture
def selection():
    """Three genes selected of five, for a categorical and a continuous task."""
    names = pd.Index([f"g{i}" for i in range(5)])
    table = pd.DataFrame(
        {
            "selected": [True, False, True, True, False],
            "rank": pd.array([2, pd.NA, 1, 3, 4], dtype="Int64"),
            "score": np.float32([0.7, 0, 1, 0.4, 0.1]),
            "task": ["type", "", "age", "type", ""],
            "category": ["a", "", "", "b", ""],
        },
        index=names,
    )
    tasks = pd.Index(["type", "age"], name="task")
    types = pd.Categorical(["b", "a"], categories=["b", "a", "unseen"], ordered=True)
    return Selection(
        panel=Panel(table),
        n_trained=4,
        is_counts=True,
        source="layers/counts",
        tasks=pd.DataFrame({"kind": ["categorical", "continuous"], "n_train": [3, 4]}, tasks),
        metrics=pd.DataFrame({"macro_f1": [0.5, np.nan], "r2": [np.nan, 0.25]}, tasks),
        path=pd.DataFrame(
            {
                "n_genes": [3, 3, 1, 1],
                "task": ["type", "age"] * 2,
                "metric": ["macro_f1", "r2"] * 2,
                "score": [0.9, 0.6, 0.5, np.nan],
                "standard_error": [0.1, np.nan, 0.2, 0.1],
                "predictor": ["network"] * 4,
            }
        ),
        history=pd.DataFrame({"step": [1, 2], "train_loss": [0.1, 1 / 3]}),
        confusion=pd.DataFrame(
            {"task": ["type"], "observed": ["a"], "predicted": ["b"], "n_cells": [2]}
        ),
        held_out=pd.DataFrame(
            {"type": types, "age": np.float32([0.1, 2])}, index=pd.Index(["c1", "c7"])
        ),
        attribution=pd.DataFrame(
            {
                "task": ["age", "type", "type"],
                "category": ["", "a", "b"],
                "criterion_increase": [0.3, 0.2, 0.1],
            },
            index=pd.Index(["g2", "g0", "g3"], name="gene"),
        ),
        without=pd.DataFrame(
            {
                "gene": ["g2", "g2", "g0", "g0", "g3", "g3"],
                "task": ["type", "age"] * 3,
                "metric": ["macro_f1", "r2"] * 3,
                "loss": [0.1, 0.4, -0.2, np.nan, 0.05, np.nan],
            }
        ),
        columns=pd.DataFrame({"task": ["proteins"], "column": ["CD4"], "r2": [0.25]}),
        teacher=pd.DataFrame(
            {
                "metric": ["macro_f1", "r2"],
                "n_labeled": [3, 2],
                "n_unlabeled": [4, 5],
                "teacher_score": [0.9, 0.1],
                "panel_score": [0.7, np.nan],
                "is_used": [True, False],
            },
            index=tasks,
        ),
    )


def assert_same(one, other):
    for field in fields(Selection):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(ours, pd.DataFrame):
            pd.testing.assert_frame_equal(ours, theirs)
        else:
            assert ours == theirs, field.name


def read_back(record):
    return Selection.from_dict(json.loads(json.dumps(record, allow_nan=False)))


def test_json_round_trip(selection):
    again = read_back(selection.to_dict())
    assert_same(again, selection)
    assert again.held_out["type"].cat.ordered
    assert list(again.held_out["type"].cat.categories) == ["b", "a", "unseen"]
    assert again.panel.table["rank"].isna().tolist() == [False, True, False, False, False]


def test_round_trip_without_held_out_cells(selection):
    empty = Selection(
        **{
            **{field.name: getattr(selection, field.name) for field in fields(Selection)},
            "held_out": selection.held_out.iloc[:0],
            "confusion": selection.confusion.iloc[:0],
        }
    )
    again = read_back(empty.to_dict())
    assert again.held_out.shape == (0, 2)
    assert list(again.confusion.columns) == list(selection.confusion.columns)


def test_records_of_earlier_versions_have_fewer_tables(selection):
    record = selection.to_dict()
    del record["columns"], record["teacher"]
    again = read_back(record)
    assert again.columns.empty
    assert again.teacher.empty
    pd.testing.assert_frame_equal(again.metrics, selection.metrics)
    assert read_back(again.to_dict()).teacher.empty


def test_trained_genes_come_by_rank(selection):
    assert selection.trained_genes == ["g2", "g0", "g3", "g4"]


@pytest.mark.parametrize(
    ("genes", "expected"),
    [
        (["g2"], [0.8, 0.2]),
        (["g0"], [0.9, np.nan]),  # what a gene gains by its absence is not promised
        (["g2", "g3"], [0.75, 0.2]),
        (["g2", "g0", "g3"], [0.75, 0.2]),
    ],
)
def test_costs_of_missing_genes_are_added_up(selection, genes, expected):
    table = selection.scores_without(genes)
    assert list(table.index) == ["type", "age"]
    assert list(table["metric"]) == ["macro_f1", "r2"]
    assert list(table["score"]) == [0.9, 0.6]
    np.testing.assert_allclose(table["expected"], expected)
