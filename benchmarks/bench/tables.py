"""The page of tables, and what they say in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bench.names import METHOD_NAMES, OURS, SETTING_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

_WHERE = ["setting", "dataset", "tasks", "task"]
_RETRAINED = ("logistic_macro_f1", "ridge_r2")
_BUILTIN = {"logistic_macro_f1": "builtin_macro_f1", "ridge_r2": "builtin_r2"}
_SCORE_NAMES = {"logistic_macro_f1": "Macro-F1", "ridge_r2": "R²"}
_CLEAR = 0.01
"""Smaller differences are a draw."""

_HEAD = """# Benchmark

Made by `benchmarks/report.py` from `benchmarks/results/results.csv`; `benchmarks/README.md` says
how to run it again, and what is not measured. Panels are selected on training cells. Scores are
taken on held-out cells, and are means over splits ± standard deviation. Unless it says "built in",
the score is that of a logistic regression (of ridge regression, for a continuous question) trained
on the panel's genes, the same for every method; the best mean of a column is bold.

![Macro-F1 against panel size](_static/benchmark.png)
"""


def page(results: pd.DataFrame, summary: pd.DataFrame) -> str:
    """Return the page, in Markdown."""
    parts = [_HEAD, "## In words\n", *_words(results)]
    for setting, rows in _in_order(summary, "setting", SETTING_NAMES):
        parts.append(f"## {SETTING_NAMES[setting]}\n")
        for (dataset, tasks, task), part in rows.groupby(["dataset", "tasks", "task"], sort=False):
            for score in _RETRAINED:
                if task and (part["score"] == score).any():
                    together = "" if task == tasks else f" (one panel for `{tasks}`)"
                    title = f"{dataset}: {_SCORE_NAMES[score]} of `{task}`{together}"
                    parts += [f"### {title}\n", _score_table(part, score)]
    parts += ["## Cost of a selection\n", _cost_table(summary)]
    failures = _failures(results)
    if failures:
        parts += ["## What did not run\n", failures]
    return "\n".join(parts)


def _score_table(part: pd.DataFrame, score: str) -> str:
    """Methods by sizes."""
    table = part[part["score"] == score].pivot_table(
        index="method", columns="size", values=["mean", "sd"], dropna=False
    )
    best = table["mean"].max()
    rows = {}
    for method in _methods(table.index):
        rows[METHOD_NAMES[method]] = [
            _cell(table["mean"].loc[method, k], table["sd"].loc[method, k], best[k])
            for k in best.index
        ]
        built = part[(part["score"] == _BUILTIN[score]) & (part["method"] == method)]
        if len(built):
            built = built.set_index("size").reindex(best.index)
            rows[f"{METHOD_NAMES[method]}, built in"] = [
                _cell(m, s, np.inf) for m, s in zip(built["mean"], built["sd"], strict=True)
            ]
    return _markdown(["method", *(f"{k} genes" for k in best.index)], rows)


def _cell(mean: float, sd: float, best: float) -> str:
    if np.isnan(mean):
        return "–"
    text = f"{mean:.3f}" + ("" if np.isnan(sd) else f" ± {sd:.3f}")
    return f"**{text}**" if round(mean, 3) >= round(best, 3) else text


def _cost_table(summary: pd.DataFrame) -> str:
    """Cost of the panel of 32 genes, or of the size closest to it, over all data sets."""
    sizes = summary["size"].unique()
    size = sizes[np.abs(np.log2(sizes / 32)).argmin()]
    rows = summary[(summary["size"] == size) & (summary["setting"] == "cells")]
    table = rows[rows["score"].isin(["seconds", "cpu_seconds", "megabytes"])].pivot_table(
        index=["dataset", "method"], columns="score", values="mean", aggfunc="median"
    )
    entries = {}
    for method in _methods(table.index.get_level_values("method").unique()):
        own = table.xs(method, level="method")
        entries[METHOD_NAMES[method]] = [
            f"{own['cpu_seconds'].median():.1f}",
            f"{own['cpu_seconds'].max():.1f} ({own['cpu_seconds'].idxmax()})",
            f"{own['megabytes'].max():.0f}",
        ]
    head = ["method", "CPU seconds, median data set", "CPU seconds, slowest", "MB, at most"]
    note = (
        f"Panels of {size} genes, one thread. CPU seconds are compared, because the machine may "
        "have been busy with other things. MB is what the selection needs on top of the data. "
        "Methods that rank were run once for all sizes.\n\n"
    )
    return note + _markdown(head, entries)


def _failures(results: pd.DataFrame) -> str:
    failed = results[results["score"] == "failed"]
    counts = failed.groupby(["method", "note"]).size()
    lines = [
        f"- {METHOD_NAMES[method]}, {count} panels: {str(note).replace('|', '/')}"
        for (method, note), count in counts.items()
    ]
    return "\n".join(lines) + "\n" if lines else ""


def _words(results: pd.DataFrame) -> list[str]:
    """Say where the default of the package wins and where it loses, from the numbers."""
    rows = results[results["score"].isin(_RETRAINED)]
    by_split = rows.pivot_table(
        index=[*_WHERE, "size", "score", "split"], columns="method", values="value"
    )
    if "yoto" not in by_split:
        return ["There are no results of `yoto` yet.\n"]
    lost, won, drawn = [], 0, 0
    against: list[pd.Series] = []
    for where, part in by_split.dropna(subset="yoto").groupby(level=[*_WHERE, "size", "score"]):
        rivals = part.drop(columns=list(OURS), errors="ignore").dropna(axis=1)
        if rivals.empty:
            continue
        rival = rivals.mean().idxmax()
        gaps = part["yoto"] - rivals[rival]
        gap = gaps.mean()
        against.append(part["yoto"].mean() - rivals.mean())
        won, drawn = won + (gap > _CLEAR), drawn + (abs(gap) <= _CLEAR)
        if gap < -_CLEAR:
            lost.append(_loss(where, rival, part["yoto"].mean(), rivals[rival].mean(), gaps))
    total = won + drawn + len(lost)
    text = (
        f"Against the best of all other methods, which is another one each time, `yoto_sc` is "
        f"ahead by more than {_CLEAR} in {won} of {total} comparisons, level in {drawn}, and "
        f"behind by more than {_CLEAR} in {len(lost)}"
    )
    lines = [f"{text}{':' if lost else '.'}\n"]
    if lost:
        lines.append("\n".join(lost) + "\n")
    lines += ["Against each of them alone:\n", _against_each(against)]
    return [*lines, *_builtin_words(results), *_own_words(by_split)]


def _against_each(gaps: list[pd.Series]) -> str:
    """Count wins and losses against every other method."""
    table = pd.DataFrame(gaps)
    rows = {
        METHOD_NAMES[method]: [
            str((table[method] > _CLEAR).sum()),
            str((table[method].abs() <= _CLEAR).sum()),
            str((table[method] < -_CLEAR).sum()),
            f"{table[method].mean():+.3f}",
        ]
        for method in _methods(table.columns)
    }
    return _markdown(["other method", "ahead", "level", "behind", "mean difference"], rows)


def _loss(where: tuple, rival: str, ours: float, theirs: float, gaps: pd.Series) -> str:
    setting, dataset, tasks, task, size, _ = where
    panel = "" if task == tasks else f" in one panel for `{tasks}`"
    regime = "" if setting == "cells" else f" ({SETTING_NAMES[setting][0].lower()}"
    regime += "" if setting == "cells" else f"{SETTING_NAMES[setting][1:]})"
    return (
        f"- {dataset}, `{task}`{panel}, {size} genes{regime}: {METHOD_NAMES[rival]} {theirs:.3f}, "
        f"`yoto_sc` {ours:.3f} (lower in {(gaps < 0).sum()} of {len(gaps)} splits)."
    )


def _builtin_words(results: pd.DataFrame) -> Iterator[str]:
    """Compare the prediction that needs no retraining to the retrained one."""
    ours = results[results["method"] == "yoto"]
    table = ours.pivot_table(
        index=[*_WHERE, "size", "split"], columns="score", values="value", aggfunc="mean"
    )
    for name, builtin, retrained, better in (
        ("macro-F1", "builtin_macro_f1", "logistic_macro_f1", "higher is better"),
        ("log loss", "builtin_log_loss", "logistic_log_loss", "lower is better"),
        ("R²", "builtin_r2", "ridge_r2", "higher is better"),
    ):
        if {builtin, retrained} <= set(table):
            pairs = table[[builtin, retrained]].dropna()
            yield (
                f"Built-in prediction against retraining on the same genes, {name} ({better}): "
                f"{pairs[builtin].mean():.3f} against {pairs[retrained].mean():.3f}, mean over "
                f"{len(pairs)} panels.\n"
            )


def _own_words(by_split: pd.DataFrame) -> Iterator[str]:
    """Compare our variants to our default."""
    for variant in OURS[1:]:
        if variant in by_split:
            pairs = by_split[["yoto", variant]].dropna()
            if variant == "yoto_prefix64":
                pairs = pairs[pairs.index.get_level_values("size") < 64]
            if len(pairs):
                yield (
                    f"{METHOD_NAMES[variant]}: {pairs[variant].mean():.3f}, against "
                    f"{pairs['yoto'].mean():.3f} for the default, mean over {len(pairs)} panels.\n"
                )


def _methods(found: pd.Index) -> list[str]:
    return [name for name in METHOD_NAMES if name in found]


def _in_order(
    table: pd.DataFrame, column: str, order: dict[str, str]
) -> Iterator[tuple[str, pd.DataFrame]]:
    for name in order:
        part = table[table[column] == name]
        if len(part):
            yield name, part


def _markdown(head: list[str], rows: dict[str, list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *([n, *r] for n, r in rows.items())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
