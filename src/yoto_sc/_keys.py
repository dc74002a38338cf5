"""Every AnnData key that yoto_sc reads or writes, in one place."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_KEY = "yoto"
"""The default of every ``key_added`` and ``key`` argument."""

PARAMS, TASKS, HISTORY = "params", "tasks", "history"
METRICS, PATH, CONFUSION = "metrics", "path", "confusion"
ATTRIBUTION, WITHOUT = "attribution", "without"
HELD_OUT, GROUP_HELD_OUT = "held_out", "group_held_out"
TEACHER, COLUMNS = "teacher", "columns"
ADAPTATION, BASE = "adaptation", "base"
ASSAY, ASSAY_CLASSES = "assay", "assay_classes"
ASSAY_COPIES, ASSAY_SUMMARY = "assay_copies", "assay_summary"
"""The entries of ``adata.uns[key]``: parameters, and tables."""


@dataclass(frozen=True)
class Keys:
    """The names under which one selection is stored; all begin with `key`, its ``key_added``."""

    key: str = DEFAULT_KEY

    @property
    def uns(self) -> str:
        """``adata.uns`` entry of parameters, tasks, metrics, path and history."""
        return self.key

    @property
    def latent(self) -> str:
        """``adata.obsm`` entry of the shared representation."""
        return f"X_{self.key}"

    @property
    def selected(self) -> str:
        """Boolean ``adata.var`` column: the gene is in the panel."""
        return f"{self.key}_selected"

    @property
    def rank(self) -> str:
        """``Int64`` ``adata.var`` column: 1 is the most important gene."""
        return f"{self.key}_rank"

    @property
    def score(self) -> str:
        """``float32`` ``adata.var`` column: selection score."""
        return f"{self.key}_score"

    @property
    def imposed(self) -> str:
        """Boolean ``adata.var`` column: the gene was in ``include``."""
        return f"{self.key}_imposed"

    @property
    def correlation(self) -> str:
        """``float32`` ``var`` column: how well a gene is imputed in held-out cells."""
        return f"{self.key}_correlation"

    @property
    def frequency(self) -> str:
        """``float32`` ``adata.var`` column: share of the runs that select the gene."""
        return f"{self.key}_frequency"

    @property
    def consensus(self) -> str:
        """Boolean ``adata.var`` column: the gene is in the consensus of the runs."""
        return f"{self.key}_consensus"

    @property
    def stability(self) -> str:
        """``adata.uns`` entry of the runs and of how much their panels agree."""
        return f"{self.key}_stability"

    def prediction(self, task: str) -> str:
        """``adata.obs`` column, or ``adata.obsm`` entry, of the predictions for `task`."""
        return f"{self.key}_{task}"

    def novelty(self, task: str) -> str:
        """``adata.obs`` column of how unlike every class of `task` a cell is."""
        return f"{self.key}_{task}_novelty"

    def confidence(self, task: str) -> str:
        """``adata.obs`` column of the probability of the predicted class of `task`."""
        return f"{self.key}_{task}_confidence"
