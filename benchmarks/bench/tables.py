"""The page of tables, and what they say in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from methods import COMPETITORS

from bench import compare
from bench.compare import CLEAR
from bench.names import METHOD_NAMES, OURS, SETTING_NAMES, SHORT_NAMES, VARIANT_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

_SCORES = {
    "logistic_macro_f1": "Macro-F1 of `{}`",
    "ridge_r2": "R² of `{}`",
    "informative": "share of the possible informative genes",
}
_BUILTIN = {"logistic_macro_f1": "builtin_macro_f1", "ridge_r2": "builtin_r2"}

_HEAD = """# Benchmark

Made by `benchmarks/report.py` from `benchmarks/results/results.csv`; `benchmarks/README.md` says
how to run it again, and what is not measured. Panels are selected on training cells, and scored on
held-out cells. Unless it says "built in", the score is that of a logistic regression (of ridge
regression, for a number) trained on the panel's genes, the same for every method: macro-F1 (R²).
Several questions of one panel count by the mean of their scores; methods that know only one
contribute their lists of genes in turn.

:::{important}
These are also the data sets that the defaults of `yoto_sc` were chosen on, in part by splits like
these. Data that nobody has looked at may rank close methods differently.
:::

![Macro-F1 against panel size](_static/benchmark.png)

Mean over splits, cells held out, one question (the planted data have two). The axes begin where
the lowest of the other methods does: most of the lines of random and of highly variable genes is
below.
"""


def page(results: pd.DataFrame, summary: pd.DataFrame, ablation: pd.DataFrame) -> str:
    """Return the page, in Markdown."""
    parts = [_HEAD]
    for setting in SETTING_NAMES:
        own = results[results["setting"] == setting]
        several = own["tasks"].str.contains("+", regex=False)
        for kind, rows in (("one question", own[~several]), ("several questions", own[several])):
            if len(rows):
                parts += [f"## {SETTING_NAMES[setting]}: {kind}\n", *_comparison(rows)]
    parts += ["## The built-in prediction\n", *_builtin(results)]
    parts += ["## Competitors\n", *_competitors(results), *_failures(results)]
    parts += ["## Cost of a selection\n", _cost_table(summary)]
    parts += ["## What each part of the method is worth\n", *_ablation(ablation)]
    parts += ["## Every data set\n", *_details(summary)]
    return "\n".join(parts)


def _comparison(results: pd.DataFrame) -> Iterator[str]:
    """Compare the means, then say where we are ahead, and where behind."""
    table = compare.by_method(results)
    averages, panels = compare.means(table)
    built = compare.by_method(results, compare.BUILTIN).reindex(panels).dropna(axis=1)
    rows = _score_rows(averages, built.groupby(level="size").mean().T)
    if OURS[0] in averages.index and len(others := averages.drop(list(OURS), errors="ignore")):
        gaps = averages.loc[OURS[0]] - others.max()
        rows["yoto_sc, less the best other"] = [f"{gap:+.3f}" for gap in gaps]
    datasets = ", ".join(panels.unique("dataset"))
    yield (
        f"Mean over data sets ({datasets}) and splits, {len(panels) // len(averages.columns)} "
        "panels of each size; methods that lack one of them are left out.\n"
    )
    yield _markdown(["method", *_sizes(averages)], rows)
    if OURS[0] not in table:
        yield "There are no results of `yoto_sc` here yet.\n"
        return
    best = compare.best_other(table)
    gaps = best["gap"]
    yield (
        "Against the best of all other methods in hindsight, which is another one each time, "
        f"`yoto_sc` is ahead by more than {CLEAR} in {(gaps > CLEAR).sum()} of {len(best)} "
        f"comparisons, level in {(gaps.abs() <= CLEAR).sum()}, and **behind** by more than "
        f"{CLEAR} in {(gaps < -CLEAR).sum()}; the mean difference is {gaps.mean():+.3f}.\n"
    )
    yield _best_table(best)
    yield "Against each of them alone, where it has the same panels:\n"
    yield _against_each(table)


def _best_table(best: pd.DataFrame) -> str:
    """Show the best other method and our difference to it, data sets by sizes."""
    texts = [
        f"{'**' if row.gap < -CLEAR else ''}{row.gap:+.3f}{'**' if row.gap < -CLEAR else ''} "
        f"{SHORT_NAMES[row.rival]}"
        for row in best.itertuples()
    ]
    table = best.assign(text=texts).pivot_table(
        index=["dataset", "tasks"], columns="size", values="text", aggfunc="first", sort=False
    )
    table = table[sorted(table)].fillna("–")
    rows = {f"{where[0]}: {where[1]}": list(values) for where, values in table.iterrows()}
    return _markdown(["panel", *_sizes(table)], rows)


def _against_each(table: pd.DataFrame) -> str:
    rows = {
        METHOD_NAMES[row.Index]: [
            *(str(n) for n in (row.ahead, row.level, row.behind)),
            f"{row.difference:+.3f}",
        ]
        for row in compare.against_each(table).itertuples()
    }
    return _markdown(["other method", "ahead", "level", "behind", "mean difference"], rows)


def _builtin(results: pd.DataFrame) -> Iterator[str]:
    """Compare the prediction that needs no retraining to the retrained one."""
    ours = results[results["method"] == OURS[0]]
    table = ours.pivot_table(
        index=["setting", "dataset", "tasks", "size", "split", "task"],
        columns="score",
        values="value",
    )
    rows = {}
    for setting, name in SETTING_NAMES.items():
        own = table[table.index.get_level_values("setting") == setting]
        for score, title in (
            ("macro_f1", "macro-F1"),
            ("r2", "R²"),
            ("log_loss", "log loss"),
            ("ece", "calibration error"),
        ):
            retrained = "ridge_r2" if score == "r2" else f"logistic_{score}"
            if {f"builtin_{score}", retrained} <= set(own):
                pairs = own[[f"builtin_{score}", retrained]].dropna()
                if len(pairs):
                    rows[f"{name}: {title}"] = [
                        *(f"{value:.3f}" for value in pairs.mean()),
                        f"{pairs.iloc[:, 0].max():.3f}" if score == "ece" else "",
                        str(len(pairs)),
                    ]
    yield (
        "`yoto_sc` predicts from its panel as it is; retrained is the logistic (ridge) regression "
        "on the same genes. Log loss and the expected calibration error (15 bins of equal width) "
        "are better the lower they are.\n"
    )
    yield _markdown(["", "built in", "retrained", "built in, at most", "panels x questions"], rows)


def _competitors(results: pd.DataFrame) -> Iterator[str]:
    """Show what each reaches and costs, beside ours on the same splits."""
    table = compare.competitors(results[results["setting"] == "cells"], COMPETITORS)
    if table.empty:
        yield "There are no results yet.\n"
        return
    yield (
        "Cells held out, each beside `yoto_sc` on the same splits, mean over them; **bold** where "
        "we are behind. "
        "Time is CPU seconds of the selection on one thread; MB, theirs and ours, is what it "
        "needs beside the data. Preparing the data is not charged to the others. Those that rank "
        "(LassoNet, NS-Forest, ActiveSVC) may have been run once for several sizes, and each size "
        "is charged with that run. Where a method returns fewer genes than asked for, their "
        "number is in parentheses.\n"
    )
    rows = {}
    for row in table.to_dict("records"):
        behind = row["score_ours"] < row["score_theirs"]
        slower = row["cpu_seconds_ours"] > row["cpu_seconds_theirs"]
        found = "" if row["n_genes_theirs"] == row["size"] else f" ({row['n_genes_theirs']:.0f})"
        panel = f"{row['dataset']}: {row['tasks']}, {row['size']} genes{found}"
        rows[f"{METHOD_NAMES[row['name']]}, {panel}"] = [
            str(row["n_splits"]),
            _number(row["score_theirs"], 3),
            _number(row["score_ours"], 3, bold=behind),
            _number(row["builtin_ours"], 3),
            _number(row["cpu_seconds_theirs"], 1),
            _number(row["cpu_seconds_ours"], 1, bold=slower),
            f"{_number(row['megabytes_theirs'], 0)} / {_number(row['megabytes_ours'], 0)}",
        ]
    head = ["competitor", "splits", "score", "yoto_sc", "built in", "s", "yoto_sc", "MB"]
    yield _markdown(head, rows)


def _ablation(results: pd.DataFrame) -> Iterator[str]:
    """Compare our method with itself, one part left out or exchanged."""
    scores = ["logistic_macro_f1", "builtin_macro_f1", "logistic_log_loss", "builtin_log_loss"]
    panels = ["dataset", "tasks", "split", "size"]
    rows = results[results["score"].isin(scores)]
    table = rows.pivot_table(index=panels, columns=["score", "method"], values="value")
    default = "variant_default"
    yield (
        "Our method with one part left out or exchanged, less the default on the same panels: "
        "cells held out, one question, 8 and 32 genes, mean ± standard error. All are "
        "trained once, on the training cells less the tenth to fifth that is held out of these "
        "(`refit=False`). Macro-F1 is better the higher, log loss the lower.\n"
    )
    entries = {}
    for method in filter(table.columns.unique("method").__contains__, VARIANT_NAMES):
        cells = []
        for score in scores:
            gaps = (table[score][method] - table[score][default]).dropna()
            cells.append(f"{gaps.mean():+.3f} ± {gaps.sem():.3f}")
            if method == default:
                cells[-1] = _number(table[score][default].mean(), 3)
        entries[VARIANT_NAMES[method]] = [*cells, str(len(gaps))]
    head = ["", "macro-F1, retrained", "built in", "log loss, retrained", "built in", "panels"]
    yield _markdown(head, entries)


def _failures(results: pd.DataFrame) -> Iterator[str]:
    failed = results[results["score"] == "failed"]
    counts = failed.groupby(["method", "dataset", "note"], sort=False).size()
    if len(counts):
        yield "What did not run:\n"
        for (method, dataset, note), count in counts.items():
            yield f"- {METHOD_NAMES[method]} on {dataset}, {count} panels: {note}"
        yield ""


def _cost_table(summary: pd.DataFrame) -> str:
    """Cost of the panel of 32 genes, or of the size closest to it, over all data sets."""
    single = ~summary["tasks"].str.contains("+", regex=False)
    rows = summary[(summary["setting"] == "cells") & single]
    sizes = rows["size"].unique()
    size = sizes[np.abs(np.log2(sizes / 32)).argmin()]
    rows = rows[(rows["size"] == size) & ~rows["method"].isin(COMPETITORS)]
    table = rows[rows["score"].isin(["seconds", "cpu_seconds", "megabytes"])].pivot_table(
        index=["dataset", "method"], columns="score", values="mean", aggfunc="median"
    )
    entries = {}
    for method in _methods(table.index.unique("method")):
        own = table.xs(method, level="method")
        entries[METHOD_NAMES[method]] = [
            f"{own['cpu_seconds'].median():.1f}",
            f"{own['cpu_seconds'].max():.1f} ({own['cpu_seconds'].idxmax()})",
            f"{own['seconds'].median():.1f}",
            f"{own['megabytes'].max():.0f}",
        ]
    head = ["method", "CPU seconds, median data set", "CPU seconds, slowest"]
    head += ["seconds by the clock, median", "MB, at most"]
    note = (
        f"Panels of {size} genes for one question, one thread. CPU seconds are compared: by the "
        "clock, the machine was busy with other things. MB is what the selection needs on top of "
        "the data. Methods that rank were run once for all sizes.\n\n"
    )
    return note + _markdown(head, entries)


def _details(summary: pd.DataFrame) -> Iterator[str]:
    """Show the methods that were run on all splits, question by question."""
    yield (
        "Mean over splits ± standard deviation. The best of a column is bold, the built-in "
        "prediction left aside. Splits differ: methods that were run on some only are compared "
        "above.\n"
    )
    summary = compare.all_splits(summary)
    for setting, name in SETTING_NAMES.items():
        rows = summary[summary["setting"] == setting]
        if len(rows):
            yield f"### {name}\n"
        for (dataset, tasks, task), part in rows.groupby(["dataset", "tasks", "task"], sort=False):
            together = "" if task in (tasks, "") else f", one panel for `{tasks}`"
            for score in _SCORES:
                if (part["score"] == score).any():
                    yield f"**{dataset}: {_SCORES[score].format(task)}{together}**\n"
                    yield _detail_table(part, score)


def _detail_table(part: pd.DataFrame, score: str) -> str:
    def wide(score: str | None, value: str) -> pd.DataFrame:
        own = part[part["score"] == score]
        return own.pivot_table(index="method", columns="size", values=value, dropna=False)

    built = _BUILTIN.get(score)
    rows = _score_rows(
        wide(score, "mean"), wide(built, "mean"), wide(score, "sd"), wide(built, "sd")
    )
    return _markdown(["method", *_sizes(wide(score, "mean"))], rows)


def _score_rows(
    means: pd.DataFrame,
    built: pd.DataFrame,
    sd: pd.DataFrame | None = None,
    built_sd: pd.DataFrame | None = None,
) -> dict[str, list[str]]:
    """Write methods by sizes; below each method that predicts, its own prediction."""
    rows = {}
    for values, spread, suffix in ((means, sd, ""), (built, built_sd, ", built in")):
        best = values.max().round(3) if not suffix else {}
        for method in values.index:
            rows[f"{METHOD_NAMES[method]}{suffix}"] = [
                _number(
                    value,
                    3,
                    None if spread is None else spread.loc[method, size],
                    bold=not suffix and round(value, 3) >= best[size],
                )
                for size, value in values.loc[method].items()
            ]
    order = [name + suffix for name in METHOD_NAMES.values() for suffix in ("", ", built in")]
    return {name: rows[name] for name in order if name in rows}


def _number(value: float, digits: int, sd: float | None = None, *, bold: bool = False) -> str:
    if np.isnan(value):
        return "–"
    text = f"{value:.{digits}f}" + ("" if sd is None or np.isnan(sd) else f" ± {sd:.{digits}f}")
    return f"**{text}**" if bold else text


def _sizes(table: pd.DataFrame) -> list[str]:
    return [f"{size} genes" for size in table]


def _methods(found: pd.Index) -> list[str]:
    return [name for name in METHOD_NAMES if name in found]


def _markdown(head: list[str], rows: dict[str, list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *([n, *r] for n, r in rows.items())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
