"""What holds for every plot."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import anndata as ad
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import yoto_sc as yt

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

OWN = ["columns", "confusion", "path", "redundancy", "selected_genes", "stability", "training"]
CALLS: dict[str, dict[str, Any]] = {
    **{name: {} for name in OWN},
    "columns": {"key": "modules"},
    "selected_genes_dotplot": {"groupby": "bulk_labels", "n_genes": 8},
    "selected_genes_heatmap": {"groupby": "bulk_labels", "n_genes": 8},
    "selected_genes_matrixplot": {"groupby": "bulk_labels", "n_genes": 8},
    "selected_genes_stacked_violin": {"groupby": "phase", "n_genes": 24},
    "selected_genes_umap": {"n_genes": 2},
}


def call(name: str, adata: AnnData, **kwargs: Any) -> Any:
    return getattr(yt.pl, name)(adata, **{**CALLS[name], **kwargs})


def axes_of(drawn: Any) -> Axes:
    drawn = drawn[0] if isinstance(drawn, list) else drawn
    return next(iter(drawn.values())) if isinstance(drawn, dict) else drawn


def assert_same(now: Any, before: Any) -> None:
    """The same keys in the same order, types and values, at any depth."""
    assert type(now) is type(before)
    if isinstance(now, dict):
        assert list(now) == list(before)
        for key, value in now.items():
            assert_same(value, before[key])
    elif isinstance(now, pd.DataFrame):
        pd.testing.assert_frame_equal(now, before)
    elif hasattr(now, "toarray"):
        assert_same(now.toarray(), before.toarray())
    else:
        np.testing.assert_array_equal(now, before)


def parts(adata: AnnData) -> dict[str, Any]:
    names = ("layers", "obsm", "varm", "obsp", "uns")
    mappings = {name: dict(getattr(adata, name)) for name in names}
    return {"X": adata.X, "obs": adata.obs, "var": adata.var, **mappings}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The figures that were open at each call of `pyplot.show`."""
    calls: list[list[int]] = []
    monkeypatch.setattr(plt, "show", lambda *args, **kwargs: calls.append(plt.get_fignums()))
    return calls


def test_calls_cover_the_namespace():
    of_a_table = {"compare", "probe_failure", "transfer"}  # have tests of their own
    assert set(CALLS) | of_a_table == set(yt.pl.__all__)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("show", [None, False])
def test_returns_axes_of_a_figure_that_can_be_saved(name, show, adata, shown, tmp_path):
    axes = axes_of(call(name, adata, show=show))
    assert isinstance(axes, Axes)
    assert plt.get_fignums() == []
    assert shown == []
    axes.figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


@pytest.mark.parametrize("name", CALLS)
def test_show_shows_one_figure_and_returns_none(name, adata, shown):
    assert call(name, adata, show=True) is None
    assert [len(figures) for figures in shown] == [1]


@pytest.mark.parametrize("name", CALLS)
def test_interactive_sessions_get_the_figure(name, adata):
    with plt.ion():
        axes = axes_of(call(name, adata))
        assert [plt.figure(number) for number in plt.get_fignums()] == [axes.figure]
        plt.close(axes.figure)
        call(name, adata, show=False)


@pytest.mark.parametrize("name", OWN)
def test_a_title_of_ones_own_takes_the_place_of_ours(name, adata):
    ax = axes_of(call(name, adata))
    ax.set_title("mine")
    titles = [ax.get_title(where) for where in ("left", "center", "right")]
    assert titles == ["", "mine", ""]


@pytest.mark.parametrize("name", CALLS)
def test_nothing_global_or_of_the_users_changes(name, adata):
    adata.uns["bulk_labels_colors"] = ["#123456"] * 10
    before, settings = adata.copy(), dict(mpl.rcParams)
    figure = plt.figure()
    call(name, adata)
    assert_same(parts(adata), parts(before))
    assert dict(mpl.rcParams) == settings
    assert plt.gcf() is figure
    plt.close(figure)


@pytest.mark.parametrize("name", CALLS)
def test_works_after_writing_and_reading(name, adata, tmp_path: Path):
    adata.write_h5ad(tmp_path / "adata.h5ad")
    again = axes_of(call(name, ad.read_h5ad(tmp_path / "adata.h5ad")))
    first = axes_of(call(name, adata))
    assert [t.get_text() for t in again.texts] == [t.get_text() for t in first.texts]
    for side in ("get_xticklabels", "get_yticklabels"):
        labels = [[t.get_text() for t in getattr(axes, side)()] for axes in (again, first)]
        assert labels[0] == labels[1]


@pytest.mark.parametrize("name", ["selected_genes", "selected_genes_dotplot"])
def test_works_on_a_backed_object(name, adata, tmp_path):
    adata.write_h5ad(tmp_path / "adata.h5ad")
    backed = ad.read_h5ad(tmp_path / "adata.h5ad", backed="r")
    call(name, backed)
    assert backed.isbacked
    backed.file.close()


@pytest.mark.parametrize("name", CALLS)
def test_a_view_is_as_good(name, adata):
    call(name, adata[:600])


@pytest.mark.parametrize("name", sorted(CALLS.keys() - {"confusion", "stability"}))
def test_a_selection_for_vectors_alone_is_drawn_too(name, adata, tmp_path):
    axes = axes_of(call(name, adata, key="modules"))
    axes.figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


@pytest.mark.parametrize("name", CALLS)
def test_without_a_selection_says_what_to_run(name, adata):
    with pytest.raises(KeyError, match=r"tl\.(select|stability).*key_added='other'"):
        call(name, adata, key="other")


@pytest.mark.parametrize("name", OWN)
def test_draws_on_given_axes(name, adata, shown):
    figure, axes = plt.subplots()
    assert call(name, adata, ax=axes) is axes
    assert axes.has_data()
    assert call(name, adata, ax=axes, show=True) is None
    assert plt.get_fignums() == [figure.number]
    plt.close(figure)


@pytest.mark.parametrize("name", OWN)
def test_given_axes_may_be_in_a_subfigure(name, adata):
    call(name, adata, ax=Figure(layout="constrained").subfigures().subplots())


@pytest.mark.parametrize("name", OWN)
def test_lines_of_a_grid_are_the_plots_own(name, adata):
    grids = []
    for everywhere in (False, True):
        with mpl.rc_context({"axes.grid": everywhere, "axes.grid.which": "both"}):
            figure = call(name, adata).figure
        figure.draw_without_rendering()
        grids.append([line.get_visible() for ax in figure.axes for line in grid_of(ax)])
    assert grids[0] == grids[1]


def grid_of(ax: Axes) -> list[Any]:
    ticks = [
        tick
        for axis in (ax.xaxis, ax.yaxis)
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    ]
    return [tick.gridline for tick in ticks]


def test_import_draws_nothing_and_needs_no_torch():
    code = (
        "import sys, yoto_sc.pl; "
        "print([m for m in ('torch', 'scvi', 'scanpy', 'matplotlib.pyplot') if m in sys.modules])"
    )
    output = subprocess.run(  # a fresh interpreter, for here everything is imported already
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"
