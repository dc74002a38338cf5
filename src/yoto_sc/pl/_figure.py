"""Who owns a figure, who shows it and who closes it.

A figure that pyplot knows of stays in memory until somebody closes it. Notebooks do so at the end
of each cell, after they have shown it; scripts and pipelines do not. Hence, for every plot:

=============  ==========================================  ====================================
``show``       in a notebook, or with interactive pyplot   in a script
=============  ==========================================  ====================================
``None``       pyplot's: the session shows (and closes)    ours alone: nothing to close, the
               it; `Axes` returned                         `Axes` keeps it; ``ax.figure.savefig``
``False``      ours alone: ``ax.figure`` shows it          the same
``True``       shown at once, then closed; ``None``        the same
=============  ==========================================  ====================================

Axes that the caller brought stay the caller's: their figure is never closed here.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec


def new_figure(figsize: tuple[float, float], show: bool | None) -> Figure:
    """Make an empty figure that pyplot knows of only if the session will close it.

    Parameters
    ----------
    figsize
        Width and height in inches.
    show
        As in the public functions.
    """
    if show or (show is None and _session_shows_figures()):
        import matplotlib.pyplot as plt

        return plt.figure(figsize=figsize, layout="constrained")
    from matplotlib.figure import Figure

    return Figure(figsize=figsize, layout="constrained")


def axes_for(ax: Axes | None, figsize: tuple[float, float], show: bool | None) -> Axes:
    """Return the caller's axes, or those of a new figure of `figsize` inches, without a grid."""
    ax = new_figure(figsize, show).add_subplot() if ax is None else ax
    hide_grid(ax)
    return ax


def hide_grid(ax: Axes) -> None:
    """Hide the lines that :func:`scanpy.set_figure_params` asks for; a plot draws its own."""
    ax.grid(visible=False, which="both")


def finish(ax: Axes, *, given: Axes | None, show: bool | None) -> Axes | None:
    """Show the figure if that was asked for, and return what the public function returns.

    Parameters
    ----------
    ax
        What was drawn on.
    given
        The axes that the caller brought, if any.
    show
        As in the public functions.
    """
    if not show:
        return ax
    _show([] if given is not None else [figure_of(ax)])
    return None


def draw_with_scanpy(
    plot: Callable[..., Any],
    *args: Any,
    show: bool | None,
    adjust: Callable[[Any], None] | None = None,
    **kwargs: Any,
) -> Any:
    """Call one of scanpy's plots and treat its figures as ours.

    Parameters
    ----------
    plot
        A function of ``scanpy.pl`` that takes ``show``.
    *args, **kwargs
        Its arguments.
    show
        As in the public functions; scanpy itself never shows.
    adjust
        Called with what `plot` returned, before anything is shown.

    Returns
    -------
    What `plot` returns for ``show=False``; ``None`` if `show`.
    """
    import matplotlib.pyplot as plt

    before = set(plt.get_fignums())

    def close_new() -> None:
        for number in set(plt.get_fignums()) - before:
            plt.close(number)

    with ExitStack() as on_error:
        on_error.callback(close_new)
        drawn = plot(*args, show=False, **kwargs)
        if adjust is not None:
            adjust(drawn)
        on_error.pop_all()
    if show:
        _show([plt.figure(number) for number in set(plt.get_fignums()) - before])
        return None
    if show is False or not _session_shows_figures():
        close_new()
    return drawn


def fit(ax: Axes, pad: float = 0.08) -> None:
    """Resize a figure around what is drawn in it, so that no label is cut off.

    All axes keep their size in inches.

    Parameters
    ----------
    ax
        One of the axes of the figure. They must all hang on one grid, as those of scanpy's plots
        do, and pyplot must know of the figure.
    pad
        Margin in inches.
    """
    figure, grid = figure_of(ax), outer_grid(ax)
    width, height = figure.get_size_inches()
    margins, box = grid.get_subplot_params(figure), figure.get_tightbbox()
    new_width, new_height = box.width + 2 * pad, box.height + 2 * pad
    figure.set_size_inches(new_width, new_height)
    grid.update(
        left=(margins.left * width - box.x0 + pad) / new_width,
        right=(margins.right * width - box.x0 + pad) / new_width,
        bottom=(margins.bottom * height - box.y0 + pad) / new_height,
        top=(margins.top * height - box.y0 + pad) / new_height,
    )


def widen_gap(ax: Axes, inches: float) -> None:
    """Put `inches` more between the two columns of a grid, and leave all else its size.

    Parameters
    ----------
    ax
        One of the axes of a figure as `fit` needs it.
    inches
        Added to the width of the figure.
    """
    figure, grid = figure_of(ax), outer_grid(ax)
    width, height = figure.get_size_inches()
    margins = grid.get_subplot_params(figure)
    column = width * (margins.right - margins.left) / (2 + margins.wspace)  # the mean of the two
    new_width = width + inches
    figure.set_size_inches(new_width, height)
    grid.update(
        wspace=margins.wspace + inches / column,
        left=margins.left * width / new_width,
        right=(margins.right * width + inches) / new_width,
    )


def figure_of(ax: Axes) -> Figure:
    """Return the figure that holds `ax`."""
    if ax.figure is None:
        raise ValueError("The axes were removed from their figure. Pass axes that are in one.")
    return ax.figure.figure  # of a subfigure this is the whole figure


def outer_grid(ax: Axes) -> GridSpec:
    """Return the grid of the figure, which `ax` may lie several grids deep in."""
    spec = ax.get_subplotspec()
    if spec is None:
        raise ValueError("The axes lie in no grid. Pass axes that pyplot.subplots made.")
    return cast("GridSpec", spec.get_topmost_subplotspec().get_gridspec())


def _session_shows_figures() -> bool:
    """Whether the session shows pyplot's figures by itself, as notebooks do."""
    import matplotlib as mpl

    return "inline" in mpl.get_backend().lower() or mpl.is_interactive()


def _show(own_figures: list[Any]) -> None:
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    plt.show()
    if not mpl.is_interactive():  # an interactive window would vanish at once
        for figure in own_figures:
            plt.close(figure)
