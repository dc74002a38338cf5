"""How a panel is trained for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from yoto_sc._checks import check_amount, check_integer
from yoto_sc.assay import Robust, check_robust
from yoto_sc.judge import MAX_CELLS
from yoto_sc.teach import UnlabeledCells

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yoto_sc.nn import Annealing

Network = Literal["linear", "encoder"]


@dataclass(frozen=True)
class Recipe:
    """How a panel is trained for, on whatever cells.

    Parameters
    ----------
    annealing
        Course of the panel size, the temperature and the noise.
    seed
        Seed of everything random.
    max_steps
        Number of batches, over all epochs.
    batch_size
        Cells in a batch, for each member.
    lr
        Learning rate of the weights (AdamW).
    weight_decay
        Of the weights that multiply expression or the representation.
    score_lr
        Learning rate of the scores (Adam); `None`: the more cells for each gene of the panel, the
        faster, ``min(5e-3, 3e-6 * n_train / n_genes)``.
    selection_network
        What selects: the heads' linear models, which overfit less and train in less time, or
        the whole network, as in the YOTO paper. After linear models, the whole network starts
        anew, so that it never overfits to more genes than the panel has.
    keep_factor
        Genes ranked below this many times the current panel size are dropped.
    full_panel_share
        While refining, the share of batches that show a member the whole panel; the others show
        the best genes of a random number, so that every size can be predicted from.
    robust
        Which other assays are imitated for a second network on the same genes, which labels cells
        of other assays (see the method page), for counts only. ``"auto"``:
        ``"technology"`` for counts; `None`: there is no such network.
    unlabeled_cells
        Whether cells without a label learn from a teacher: ``"auto"``, where labelled cells show
        that it knows more than a panel; ``"use"``, in any case; ``"ignore"``, never.
    max_cells
        Cells to learn from, and cells to hold out, at most; see :func:`yoto_sc.tl.select`. `None`:
        all.
    accelerator, devices, progress_bar
        As in :meth:`yoto_sc.model.YOTO.train`.
    trainer_kwargs
        For :class:`scvi.train.Trainer`.
    """

    annealing: Annealing
    seed: int = 0
    max_steps: int = 2000
    batch_size: int = 128
    lr: float = 3e-3
    weight_decay: float = 0.3
    score_lr: float | None = None
    selection_network: Network = "linear"
    keep_factor: float = 2.0
    full_panel_share: float = 0.5
    robust: Robust | Literal["auto"] | None = "auto"
    unlabeled_cells: UnlabeledCells = "auto"
    max_cells: int | None = MAX_CELLS
    accelerator: str = "auto"
    devices: int | list[int] | str = "auto"
    progress_bar: bool = True
    trainer_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("max_steps", "batch_size"):
            check_integer(getattr(self, name), name, minimum=1)
            object.__setattr__(self, name, int(getattr(self, name)))  # Lightning asks for type int
        if self.max_cells is not None:
            check_integer(self.max_cells, "max_cells", minimum=1000)
        if self.selection_network not in get_args(Network):
            raise ValueError(
                f"selection_network must be one of {get_args(Network)}, not "
                f"{self.selection_network!r}."
            )
        check_robust(self.robust)
        if self.unlabeled_cells not in get_args(UnlabeledCells):
            raise ValueError(
                f"unlabeled_cells must be one of {get_args(UnlabeledCells)}, not "
                f"{self.unlabeled_cells!r}."
            )
        for name in ("lr", "weight_decay", "full_panel_share", "score_lr"):
            if getattr(self, name) is not None:
                check_amount(getattr(self, name), name)
        if self.full_panel_share > 1:
            raise ValueError(f"full_panel_share must be at most 1, not {self.full_panel_share}.")
        if not self.keep_factor >= 1:
            raise ValueError(f"keep_factor must be at least 1, not {self.keep_factor}.")
        if self.devices not in ("auto", 1, "1") and not (
            isinstance(self.devices, list) and len(self.devices) == 1
        ):
            raise ValueError(
                f"devices must name one device, not {self.devices!r}: nothing is sharded."
            )
