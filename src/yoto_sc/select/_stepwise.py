"""Forward stepwise discriminant analysis over several tasks, in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from yoto_sc.select._moments import RIDGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yoto_sc.select._targets import Target


def stepwise_order(
    values: NDArray[np.float32],
    targets: Sequence[Target],
    n_steps: int,
    *,
    ridge: float = RIDGE,
    class_weight_power: float = 0.5,
    required: NDArray[np.bool_] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.intp]:
    r"""Order genes by forward stepwise discriminant analysis, pair of classes by pair.

    Each step adds the gene that lowers most, summed over tasks, the square root of the mean over
    pairs of classes of Wilks' lambda of the pair,

    .. math::

        \frac{1}{|\mathrm{pairs}|} \sum_{a < b} \frac{1}{1 + \Delta^2_{ab}(S) / 4}, \qquad
        \Delta^2_{ab}(S) = (\mu_a - \mu_b)_S^\top W_{SS}^{-1} (\mu_a - \mu_b)_S,

    where S are the genes that are in, :math:`\mu` the means of the classes, W the covariance
    within classes, and :math:`\Delta_{ab}` the Mahalanobis distance. With the gene j, the squared
    distance grows by the squared difference of the means of j given S, over its variance given S.
    Wilks' lambda over all classes at once, the criterion of classical stepwise discriminant
    analysis (Jennrich 1977), goes on rewarding the distance of pairs that are far apart; the mean
    over pairs turns to those that are still confused. A continuous target counts as one pair: the
    points one standard deviation below and above its mean, whose lambda is
    :math:`1 - R^2` of the regression of the target on S. A target of several columns counts
    likewise, by :math:`1 - R^2` over all columns by their variance. The root keeps a task with few
    pairs that are hard to tell, whose mean lambda is soon small, from being drowned by the others.

    Parameters
    ----------
    values
        Shape ``(n_obs, n_vars)``: expression. Genes are brought to unit variance.
    targets
        One for each task, on these cells. The gains of a task are multiplied by its weight.
    n_steps
        Number of genes to order; at most ``n_vars``.
    ridge
        Added to the unit variances, so that near copies of a selected gene bring little.
    class_weight_power
        A cell of a class of n cells weighs ``n ** -class_weight_power`` in W.
    required
        Mask of shape ``(n_vars,)``: genes that come before all others.
    weights
        Shape ``(n_vars,)``, non-negative: factors of the genes' gains.

    Returns
    -------
    Indices of the genes, best first, of shape ``(n_steps,)``.
    """
    n_vars = values.shape[1]
    n_steps = min(n_steps, n_vars)
    tasks = [
        target.moments(values, ridge, class_weight_power).stepper(n_steps) for target in targets
    ]
    left = np.ones(n_vars, dtype=bool)
    first = np.zeros(n_vars, dtype=bool) if required is None else required.copy()
    order = np.empty(n_steps, dtype=np.intp)
    importance = np.array([[target.weight] for target in targets])
    before = np.ones((len(tasks), 1))  # without a gene, all is left open
    for step in range(n_steps):
        left_over = np.array([task.left() for task in tasks])
        gain = (importance * (np.sqrt(before) - np.sqrt(left_over))).sum(axis=0)
        if weights is not None:
            gain = gain * weights
        eligible = left & first if (left & first).any() else left
        j = int(np.where(eligible, gain, -np.inf).argmax())
        before = left_over[:, [j]]
        order[step] = j
        left[j] = False
        for task in tasks:
            task.add(j)
    return order
