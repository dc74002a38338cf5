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

import functools
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

Function = TypeVar("Function", bound="Callable[..., Any]")


def new_figure(figsize: tuple[float, float], show: bool | None) -> Figure:
    """Make an empty figure that pyplot knows of only if the session will close it."""
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

    The axes that the caller brought, if any, are `given`.
    """
    if not show:
        return ax
    _show([] if given is not None else [figure_of(ax)])
    return None


@contextmanager
def literal_names() -> Iterator[None]:
    """Draw names of genes and classes as they are: a dollar begins no formula."""
    import matplotlib as mpl

    with mpl.rc_context({"text.parse_math": False}):
        yield


def literal(plot: Function) -> Function:
    """Let a plot draw names as :func:`literal_names` does."""

    @functools.wraps(plot)
    def drawn(*args: Any, **kwargs: Any) -> Any:
        with literal_names():
            return plot(*args, **kwargs)

    return cast("Function", drawn)


def draw_with_scanpy(
    plot: Callable[..., Any],
    *args: Any,
    show: bool | None,
    adjust: Callable[[Any], None],
    **kwargs: Any,
) -> Any:
    """Call one of scanpy's plots and treat its figures as ours.

    What it returned is given to `adjust` before anything is shown, unless that is scanpy's
    ``return_fig``. Returns the same; ``None`` if `show`.
    """
    import matplotlib.pyplot as plt

    before = set(plt.get_fignums())

    def close_new() -> None:
        for number in set(plt.get_fignums()) - before:
            plt.close(number)

    with ExitStack() as on_error, literal_names():
        on_error.callback(close_new)
        drawn = plot(*args, show=False, **kwargs)
        if not kwargs.get("return_fig"):
            adjust(drawn)
        on_error.pop_all()
    if show:
        _show([plt.figure(number) for number in set(plt.get_fignums()) - before])
        return None
    if show is False or not _session_shows_figures():
        close_new()
    return drawn


def fit(figure: Figure, pad: float = 0.08) -> None:
    """Resize a figure around what is drawn in it, so that no label is cut off.

    All its axes keep their size; `pad` is the margin, in inches. Saving with
    ``bbox_inches="tight"`` would do the same, but figures are also saved without, and scanpy's
    grids know no layout engine.
    """
    from matplotlib.transforms import Bbox

    size, box = figure.get_size_inches(), figure.get_tightbbox().padded(pad)
    figure.set_size_inches(*box.size)
    for ax in figure.axes:
        corners = ax.get_position(original=True).get_points() * size
        ax.set_position(Bbox((corners - box.min) / box.size))


def label_color_bar(image: ScalarMappable, label: str) -> None:
    """Write what the colours of `image` are beside its bar, if it has one."""
    if image.colorbar is not None:
        image.colorbar.set_label(label, fontsize="small")
        image.colorbar.ax.tick_params(labelsize="small")


def figure_of(ax: Axes) -> Figure:
    """Return the figure that holds `ax`."""
    return cast("Figure", ax.figure).figure  # of a subfigure this is the whole figure


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
