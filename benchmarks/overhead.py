"""What the framework costs: training inside `tl.select` against a bare PyTorch loop.

Both train the same network on batches of the same size for the same number of steps, along the
same course of the panel, on the same cells. The bare loop holds the candidates in one dense
tensor, draws its batches at random, and has no trainer, no data module, no held-out cells and no
progress. Runs take turns; the ratio of the fastest of each is printed, and must stay below 1.5.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

import yoto_sc as yt
from yoto_sc.model import YOTOModule
from yoto_sc.nn import narrow

if TYPE_CHECKING:
    from anndata import AnnData
    from lightning.pytorch import LightningModule, Trainer

    from yoto_sc.model import SelectionTrainingPlan

LIMIT = 1.5


class Recorder(Callback):
    """Times the training, and remembers where it started from."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy what the bare loop needs, then start the clock."""
        plan, data = pl_module, trainer.datamodule
        self.plan = plan
        everyone = data.train.everything()
        self.values = everyone.pop("X")
        self.labels = everyone
        self.batch_size = data.batch_size
        self.scores = plan.module.selector.scores.detach().clone()
        self.start = time.perf_counter()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self.seconds = time.perf_counter() - self.start


def select(adata: AnnData, label: str, n_genes: int) -> Recorder:
    """Train through the public call."""
    recorder = Recorder()
    yt.tl.select(
        adata,
        n_genes,
        categorical_keys=label,
        group_key=None,  # one training is timed
        progress_bar=False,
        train_kwargs={"callbacks": [recorder], "refit": False},
    )
    return recorder


def bare_loop(recorder: Recorder, module: YOTOModule) -> float:
    """Train `module` without any framework; return the seconds."""
    plan: SelectionTrainingPlan = recorder.plan
    annealing, n_steps = plan.annealing, plan.n_total_steps
    values, labels = recorder.values, recorder.labels
    weights = [p for name, p in module.named_parameters() if name != "selector.scores"]
    scores = module.selector.scores
    optimizer = torch.optim.AdamW(
        [{"params": weights}, {"params": [scores], "lr": plan.score_lr, "betas": (0.98, 0.99)}],
        lr=plan.lr,
        betas=(0.9, 0.99),
    )
    shape = (module.n_members, recorder.batch_size)
    fold = torch.arange(len(values)) % module.n_members
    own = [torch.where(fold == member)[0] for member in range(module.n_members)]
    others = [torch.where(fold != member)[0] for member in range(module.n_members)]

    def draw(sets: list[torch.Tensor] | None) -> dict[str, torch.Tensor]:
        if sets is None:
            cells = torch.randint(len(values), shape)
        else:
            cells = torch.stack([c[torch.randint(len(c), shape[1:])] for c in sets])
        return {"X": values[cells], **{key: column[cells] for key, column in labels.items()}}

    def loss(batch: dict[str, torch.Tensor], mask: torch.Tensor, network: str) -> torch.Tensor:
        encoded = module.inference(batch["X"], mask, network)
        return module.loss(batch, encoded, module.generative(**encoded)).loss

    start = time.perf_counter()
    refining = False
    for step in range(n_steps):
        progress = step / n_steps
        optimizer.zero_grad()
        size = min(annealing.size(progress), module.n_genes)
        if annealing.is_selecting(progress):
            n_kept = round(plan.keep_factor * size)
            if n_kept < 0.75 * module.n_genes:
                kept = module.selector.order()[:n_kept]
                narrow(module, kept, optimizer)
                values = values[:, kept].contiguous()
            mask = module.selector(size, annealing.temperature_at(progress))
            total = loss(draw(others), mask.detach(), "linear")
            module.encoder.eval()
            for parameter in weights:
                parameter.requires_grad_(False)
            total = total + loss(draw(own), mask, "linear")
            for parameter in weights:
                parameter.requires_grad_(True)
            module.encoder.train()
        else:
            if not refining:
                kept = module.selector.order()[: annealing.n_genes]
                narrow(module, kept, optimizer)
                values = values[:, kept].contiguous()
                module.encoder.reset_weight()
                refining = True
            optimizer.param_groups[0]["lr"] = plan.lr * annealing.lr_factor(progress)
            sizes = torch.rand(module.n_members, 1, 1).mul(np.log(module.n_genes)).exp().round()
            mask = (torch.arange(module.n_genes) < sizes).float()
            total = loss(draw(None), mask, "encoder")
        total.backward()
        optimizer.step()
        del total, mask  # `narrow` wants no graph that still knows the old shapes
    return time.perf_counter() - start


def fresh_module(recorder: Recorder, model: Any) -> YOTOModule:
    """Return the network as it was when training began."""
    module: YOTOModule = model
    with torch.no_grad():
        module.selector.scores.copy_(recorder.scores)
        module.encoder.mean.copy_(recorder.values.mean(0))
        module.encoder.scale.copy_(recorder.values.std(0).clamp(min=1e-6))
    return module


def main() -> int:
    """Measure; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="an h5ad file")
    parser.add_argument("--label", default="cell_type")
    parser.add_argument("--n-genes", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    adata = anndata.read_h5ad(args.data)
    torch.set_num_threads(1)  # as in tl.select
    framework, bare = [], []
    for _ in range(args.repeats):
        recorder = select(adata, args.label, args.n_genes)
        tasks = recorder.plan.module.tasks
        module = fresh_module(recorder, YOTOModule(recorder.values.shape[1], tasks))
        framework.append(recorder.seconds)
        bare.append(bare_loop(recorder, module))
        print(f"tl.select's training {framework[-1]:6.2f} s   bare loop {bare[-1]:6.2f} s")
    ratio = min(framework) / min(bare)
    print(f"{recorder.plan.n_total_steps} steps; ratio of the fastest runs {ratio:.2f}")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
