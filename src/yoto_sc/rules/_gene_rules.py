"""Rules on a panel: who may, who must, and how much there may be in all; met exactly."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from yoto_sc._checks import is_integer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd
    from numpy.typing import NDArray

_TOLERANCE = 1e-9
"""A sum meets its bound if it exceeds it by no more than this share: numbers are rounded."""
_MAX_REFUSED = 200
"""So many panels that break a rule by less than the solver's tolerance are refused one by one."""
_CORE_FACTOR, _GAP = 3, 0.1
"""A good panel is searched among so many genes for each of its own, up to this relative gap."""
_MAX_NODES = 10_000
"""After so many nodes of the branch and bound, the best panel so far counts as the best one."""
_LIMIT_REACHED = 1
"""Status of a search that ended for the number of nodes."""


@dataclass(frozen=True)
class Cap:
    """A bound on a sum over the panel.

    Parameters
    ----------
    amounts
        Shape ``(n_vars,)``: what each gene adds; non-negative, or, of a quota, -1 for its genes.
    bound
        The sum may not be larger. Of a quota, it is minus the number of its genes that must be
        there.
    """

    amounts: NDArray[np.float64]
    bound: float

    @classmethod
    def quota(cls, genes: NDArray[np.bool_], at_least: int) -> Cap:
        """Ask for some of the `genes`, a mask of shape ``(n_vars,)``."""
        return cls(-genes.astype(np.float64), -float(at_least))

    @property
    def is_quota(self) -> bool:
        """Whether it is a bound from below."""
        return self.bound < 0

    @property
    def largest(self) -> float:
        """The bound, with the tolerance for rounded numbers."""
        return self.bound + _TOLERANCE * abs(self.bound)

    def holds(self, genes: NDArray[np.bool_]) -> bool:
        """Whether the panel `genes`, a mask of shape ``(n_vars,)``, keeps to the bound."""
        return float(self.amounts[genes].sum()) <= self.largest


@dataclass(frozen=True)
class GeneRules:
    """What a panel must be like.

    Of all genes, ``(n_vars,)``: which are `required`; by a rule's name, which may be in the panel
    (`limits`), and bounds on sums over it (`caps`); and by how much to favour each.
    """

    required: NDArray[np.bool_]
    limits: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    caps: Mapping[str, Cap] = field(default_factory=dict)
    preference: NDArray[np.float64] | None = None

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """Which genes no rule forbids, shape ``(n_vars,)``."""
        allowed = np.ones(len(self.required), dtype=bool)
        for limit in self.limits.values():
            allowed &= limit
        return allowed

    @property
    def weights(self) -> NDArray[np.float64]:
        """By how much to favour each gene, 1 by default; shape ``(n_vars,)``."""
        return np.ones(len(self.required)) if self.preference is None else self.preference

    @property
    def smallest_size(self) -> int:
        """Size of the smallest panel that has all required genes, at least 1."""
        return max(1, int(self.required.sum()))

    def subset(self, genes: NDArray[np.intp]) -> GeneRules:
        """Return the rules on some genes only, in the given order."""
        return GeneRules(
            self.required[genes],
            {name: limit[genes] for name, limit in self.limits.items()},
            {name: Cap(cap.amounts[genes], cap.bound) for name, cap in self.caps.items()},
            None if self.preference is None else self.preference[genes],
        )

    def hold(self, genes: NDArray[np.bool_]) -> bool:
        """Whether the panel `genes`, a mask of shape ``(n_vars,)``, meets the rules."""
        within = not (genes & ~self.allowed).any() and not (self.required & ~genes).any()
        return within and all(cap.holds(genes) for cap in self.caps.values())

    def replacements(self, genes: NDArray[np.bool_], gene: int) -> NDArray[np.bool_]:
        """Mask the genes that may take the place of `gene` in a panel that meets the rules."""
        may = self.allowed & ~genes
        rest = genes.copy()
        rest[gene] = False
        for cap in self.caps.values():
            left = cap.largest - cap.amounts[rest].sum()
            may &= cap.amounts <= left
        return may

    def best_panel(self, scores: NDArray[np.float64], n_genes: int) -> NDArray[np.intp]:
        """Return the panel of the largest total score that meets all rules.

        With caps it is found by mixed-integer linear programming. Where this takes very long, the
        panel still meets the rules, but may miss the best total by a little.

        Parameters
        ----------
        scores
            Shape ``(n_vars,)``, finite.

        Returns
        -------
        Ascending indices, shape ``(n_genes,)``.

        Raises
        ------
        ValueError
            No panel meets the rules.
        """
        panel = self._search(scores, n_genes)
        if panel is None:
            raise ValueError(f"No panel of {n_genes} genes meets the rules.")
        return panel

    def good_panel(self, scores: NDArray[np.float64], n_genes: int) -> NDArray[np.intp]:
        """Do as `best_panel` does, but in less time, for a total that is merely large."""
        by_score = -(scores - self.penalties(scores, n_genes))
        core = np.flatnonzero(self._first(by_score, _CORE_FACTOR * n_genes))
        panel = self.subset(core)._search(scores[core], n_genes, _GAP)
        return self.best_panel(scores, n_genes) if panel is None else core[panel]

    def is_feasible(self, n_genes: int) -> bool:
        """Whether a panel of this size meets all rules."""
        if self.caps:
            lightest = self._first(self._scaled_caps()[0].sum(axis=0), n_genes)
            if lightest.sum() == n_genes and self.hold(lightest):
                return True  # which spares most searches
        return self._search(np.zeros(len(self.required)), n_genes) is not None

    def largest_size(self, limit: int) -> int:
        """Return the size, up to `limit`, of the largest panel that meets all rules; 0 if none.

        What a panel meets, a smaller one with the required genes meets too, as amounts are not
        negative. So the sizes that can be met have no gap. Quotas may ask for more than the
        smallest size, and then it is not looked for.
        """
        low, high = self.smallest_size, limit
        if low > high or not self.is_feasible(low):
            return 0
        while low < high:
            middle = (low + high + 1) // 2
            if self.is_feasible(middle):
                low = middle
            else:
                high = middle - 1
        return low

    def penalties(self, scores: NDArray[np.float64], n_genes: int) -> NDArray[np.float64]:
        """Return what the caps make each gene cost, in units of the scores; ``(n_vars,)``.

        These are the Lagrange multipliers of the linear relaxation of `best_panel`, times the
        amounts: but for a few genes, the best panel has the largest scores after this deduction.
        Where the panel of the largest scores meets the rules, the penalties are zero.
        """
        if self.hold(self._first(-scores, n_genes)):
            return np.zeros(len(scores))
        genes = np.flatnonzero(self.allowed)
        rows, bounds = self.subset(genes)._scaled_caps()
        result: Any = linprog(
            -scores[genes],
            A_ub=rows,
            b_ub=bounds,
            A_eq=np.ones((1, len(genes))),
            b_eq=np.array([n_genes]),
            bounds=[(float(must), 1.0) for must in self.required[genes]],
            method="highs",
        )
        penalty = np.zeros(len(scores))
        if result.status == 0:
            penalty[genes] = -result.ineqlin.marginals @ rows
        return penalty

    def conflict(self, n_genes: int) -> list[str]:
        """Name the smallest set of rules that no panel of this size meets together."""
        names = [f"n_genes={n_genes}", "include", *self.limits, *self.caps]

        def can_be_met(chosen: set[int]) -> bool:
            kept = {names[position] for position in chosen}
            rules = replace(
                self,
                required=self.required if "include" in kept else np.zeros_like(self.required),
                limits={name: limit for name, limit in self.limits.items() if name in kept},
                caps={name: cap for name, cap in self.caps.items() if name in kept},
            )
            if names[0] in kept:
                return rules.is_feasible(n_genes)
            return rules._can_be_met()

        return [names[position] for position in sorted(_smallest(can_be_met, len(names)))]

    def _can_be_met(self) -> bool:
        """Whether a panel of any size meets all rules."""
        if not any(cap.is_quota for cap in self.caps.values()):
            return self.hold(self.required)  # the smallest panel weighs least
        genes = np.flatnonzero(self.allowed)
        if self.required.sum() > self.required[genes].sum():
            return False
        return _solve(np.zeros(len(genes)), self.subset(genes), None, 0.0) is not None

    def _search(
        self, scores: NDArray[np.float64], n_genes: int, gap: float = 0.0
    ) -> NDArray[np.intp] | None:
        """Do as `best_panel` does, but return `None` if no panel meets the rules."""
        allowed, n_required = self.allowed, int(self.required.sum())
        if (self.required & ~allowed).any() or not n_required <= n_genes <= allowed.sum():
            return None
        greedy = self._first(-scores, n_genes)
        if self.hold(greedy):
            return np.flatnonzero(greedy)
        if not all(cap.holds(self._first(cap.amounts, n_genes)) for cap in self.caps.values()):
            return None
        genes = np.flatnonzero(allowed)
        chosen = _solve(scores[genes], self.subset(genes), n_genes, gap)
        return None if chosen is None else genes[chosen]

    def _first(self, order: NDArray[np.float64], n_genes: int) -> NDArray[np.bool_]:
        """Mask the required genes and, of the other allowed ones, those with the least `order`."""
        order = np.where(self.required, -np.inf, np.where(self.allowed, order, np.inf))
        mask = np.zeros(len(order), dtype=bool)
        mask[np.argsort(order, kind="stable")[:n_genes]] = True
        return mask

    def _scaled_caps(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the amounts, ``(n_caps, n_vars)``, and bounds, ``(n_caps,)``, of order 1."""
        rows = np.array([cap.amounts for cap in self.caps.values()])
        bounds = np.array([cap.bound for cap in self.caps.values()])
        largest = np.abs(rows).max(axis=1)
        scale = np.maximum(np.abs(bounds), np.where(largest > 0, largest, 1))
        return rows / scale[:, None], np.array([c.largest for c in self.caps.values()]) / scale


def _solve(
    scores: NDArray[np.float64], rules: GeneRules, n_genes: int | None, gap: float
) -> NDArray[np.intp] | None:
    """Maximise the total score by branch and bound; all genes are allowed, and so may be sizes."""
    n_vars = len(scores)
    least, most = (0, n_vars) if n_genes is None else (n_genes, n_genes)
    rows, bounds = rules._scaled_caps()
    spread = float(np.ptp(scores))
    loss = (scores.max() - scores) / (spread if spread > 0 else 1.0)
    refused = np.empty((0, n_vars))
    max_nodes = _MAX_NODES
    while True:
        result = milp(
            loss,
            integrality=np.ones(n_vars, dtype=np.intp),
            bounds=Bounds(rules.required.astype(float), np.ones(n_vars)),
            constraints=[
                LinearConstraint(np.ones((1, n_vars)), least, most),
                LinearConstraint(rows, -np.inf, bounds),
                LinearConstraint(refused, -np.inf, refused.sum(axis=1) - 1),
            ],
            options={"mip_rel_gap": gap, "node_limit": max_nodes},
        )
        if result.x is None and result.status == _LIMIT_REACHED:
            max_nodes *= 10  # nothing found yet is no answer
        elif result.x is None:
            return None
        else:
            chosen = result.x > 0.5
            if rules.hold(chosen):
                return np.flatnonzero(chosen)
            # The solver's own tolerance is wider than ours. Refuse what it lets pass or, before
            # these get very many, keep away from the bounds.
            refused = np.vstack([refused, chosen])
            if len(refused) == _MAX_REFUSED:
                bounds = bounds - 1e-5


def _smallest(can_be_met: Callable[[set[int]], bool], n_rules: int) -> set[int]:
    """Return the smallest set of rules that cannot be met together.

    Every conflict shares a rule with the complement of any set that can be met. So the smallest
    set that shares a rule with all the complements known is a conflict, and then the smallest one,
    or can be met, and gives a further complement (Ignatiev et al., CP 2015).
    """
    complements: list[list[bool]] = []
    while True:
        chosen = set[int]()
        if complements:
            hitting: Any = milp(
                np.ones(n_rules),
                integrality=np.ones(n_rules, dtype=np.intp),
                bounds=Bounds(0, 1),
                constraints=LinearConstraint(np.array(complements, dtype=float), 1, np.inf),
            )
            chosen = set(np.flatnonzero(hitting.x > 0.5).tolist())
        if not can_be_met(chosen):
            return chosen
        for rule in range(n_rules):
            if rule not in chosen and can_be_met(chosen | {rule}):
                chosen.add(rule)
        complements.append([rule not in chosen for rule in range(n_rules)])


def check_n_genes(n_genes: int | Literal["auto"], rules: GeneRules) -> None:
    """Refuse panel sizes that the rules cannot meet.

    Raises
    ------
    TypeError
        Neither an integer nor ``"auto"``.
    ValueError
        Below 1, below the number of required genes, above the number of allowed ones, or in
        conflict with other rules, the smallest set of which is named.
    """
    n_required = int(rules.required.sum())
    if n_genes == "auto":
        if any(cap.is_quota for cap in rules.caps.values()):
            raise ValueError(
                'n_genes="auto" takes the smallest panel that is good enough, and `redundancy` '
                "asks for more than that. Say how many genes."
            )
        size = max(1, n_required)
    elif not is_integer(n_genes):
        raise TypeError(f'n_genes must be an integer or "auto", not {n_genes!r}.')
    else:
        size = int(n_genes)
    if size < 1:
        raise ValueError(f"n_genes must be at least 1, not {n_genes}.")
    if size < n_required:
        raise ValueError(
            f"n_genes={n_genes} is smaller than the {n_required} genes in `include`. Ask for more "
            "genes, or include fewer."
        )
    if rules.is_feasible(size):
        return
    conflict = rules.conflict(size)
    if len(conflict) == 1:
        raise ValueError(
            f"n_genes={n_genes} exceeds the {len(rules.required)} genes that there are. Ask for "
            "fewer."
        )
    largest = rules.largest_size(size - 1)
    at_most = f" At most {largest} genes meet all rules." if largest else ""
    raise ValueError(
        f"No panel meets these rules together: {', '.join(conflict)}. Loosen one of them.{at_most}"
    )


def check_included(
    names: pd.Index, required: NDArray[np.bool_], rule: str, limit: NDArray[np.bool_]
) -> None:
    """Refuse a rule that forbids genes which must be in the panel.

    Raises
    ------
    ValueError
        It forbids a gene in `include`.
    """
    forbidden = list(names[required & ~limit])
    if forbidden:
        raise ValueError(
            f"`include` names {forbidden}, which {rule} forbids. Include other genes, or loosen "
            "the rule."
        )
