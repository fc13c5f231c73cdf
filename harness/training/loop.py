"""The loop that all training techniques share: AdamW, linear warm-up and decay, checkpoints.

Loshchilov and Hutter 2019 (arXiv 1711.05101) for AdamW; Devlin et al. 2019 (arXiv 1810.04805),
appendix A, for warm-up and linear decay.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from harness.contract import Checkpoint, Objective, Resumed
from harness.errors import InvalidMeasurement
from harness.training.recipe import Recipe
from harness.training.state import capture, restore

if TYPE_CHECKING:
    import torch


def fit(
    model: torch.nn.Module,
    objective: Callable[[], Objective],
    recipe: Recipe,
    *,
    seed: int,
    device: str,
    whole: torch.nn.Module | None = None,
    resumed: Resumed | None = None,
) -> Iterator[Checkpoint]:
    """Train `model` in place; yield before the first step, after each chunk, and at the end.

    `objective()` is called after the first yield, so that tokenising and encoding are charged to the
    first chunk of work. `whole` is the model to evaluate and save where `model` is only the part that
    learns. An evaluator may set eval mode between yields; train mode is set again. The parameters that
    do not require gradients are left alone. With `resumed` the steps before that checkpoint are not taken
    again, and those after it are what they would have been.

    Raises: InvalidMeasurement: at the end of a chunk the loss is no finite number, so nothing is learned any more.
    """
    import torch

    whole = whole or model
    whole.to(device)
    if resumed is None:
        yield Checkpoint(model=whole, steps=0, examples=0)
    goal = objective()
    torch.manual_seed(seed)
    total = recipe.epochs * math.ceil(goal.size / recipe.batch_size)
    optimiser = _optimiser(model, recipe, device)
    share = _rate(recipe, total)
    ends = _chunk_ends(total, recipe)
    state = partial(capture, model, optimiser, device)
    steps = seen = 0
    if resumed is not None:
        restore(model, optimiser, device, resumed.state)
        steps, seen = resumed.steps, resumed.examples
        yield Checkpoint(model=whole, steps=steps, examples=seen, last=steps == total, state=state)
    model.train()
    for rows in _batches(goal.size, recipe, seed, after=steps):
        loss = _step(model, goal, rows, optimiser, recipe.learning_rate * share(steps))
        steps += 1
        seen += len(rows)
        if steps in ends:
            _refuse_divergence(float(loss), steps, recipe)
            yield Checkpoint(model=whole, steps=steps, examples=seen, last=steps == total, state=state)
            model.train()


def _step(model: Any, goal: Objective, rows: list[int], optimiser: Any, rate: float) -> torch.Tensor:
    """Take one step and return its loss, still on the device: reading it waits."""
    for group in optimiser.param_groups:
        group["lr"] = rate
    loss = goal.loss(model, rows)
    loss.backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return loss.detach()


def _refuse_divergence(loss: float, steps: int, recipe: Recipe) -> None:
    if not math.isfinite(loss):
        raise InvalidMeasurement(
            f"training diverged: the loss is {loss} after {steps} steps; lower learning_rate (now "
            f"{recipe.learning_rate:g})"
        )


def _optimiser(model: Any, recipe: Recipe, device: str) -> Any:
    import torch

    learning = [tensor for tensor in model.parameters() if tensor.requires_grad]
    groups = [
        {"params": [tensor for tensor in learning if tensor.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [tensor for tensor in learning if tensor.ndim < 2], "weight_decay": 0.0},
    ]
    fused = torch.device(device).type in {"cpu", "cuda"}
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=fused)


def _rate(recipe: Recipe, steps: int) -> Callable[[int], float]:
    """Return the share of the peak rate at a step counted from 0: never 0 at the first, 0 after the last."""
    warmup = math.ceil(recipe.warmup_fraction * steps)

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return max(0.0, (steps - step) / max(1, steps - warmup))

    return share


def _chunk_ends(steps: int, recipe: Recipe) -> frozenset[int]:
    """Return after which steps to yield: evenly spaced, at least the last, at most every one."""
    chunks = min(steps, max(1, round(recipe.epochs * recipe.checkpoints_per_epoch)))
    return frozenset(round(steps * chunk / chunks) for chunk in range(1, chunks + 1))


def _batches(n: int, recipe: Recipe, seed: int, *, after: int) -> Iterator[list[int]]:
    """Return the batches of all epochs in their order, without the first `after`."""
    whole = (rows for epoch in range(recipe.epochs) for rows in _shuffled(n, recipe.batch_size, seed, epoch))
    return itertools.islice(whole, after, None)


def _shuffled(n: int, batch_size: int, seed: int, epoch: int) -> Iterator[list[int]]:
    rows = list(range(n))
    random.Random(f"{seed}/{epoch}").shuffle(rows)  # noqa: S311 (an order of examples, no secret)
    for start in range(0, n, batch_size):
        yield rows[start : start + batch_size]
