"""How many bytes a computation holds at once, found by running it on tensors without memory. Imports torch at once.

Import this module inside functions. On torch's meta device operations give shapes and no values; a dispatch mode sees
each of them, forward, backward and in the optimiser, and counts every storage from its birth to its death.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class Live(TorchDispatchMode):  # type: ignore[misc]  # torch gives mypy no types here
    """Counts the bytes of living storages while it is entered: `live` now, `peak` at most."""

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._sizes: dict[int, int] = {}

    def hold(self, tensor: torch.Tensor) -> None:
        """Count a tensor's storage, once however many tensors view it, until nobody holds it."""
        storage = tensor.untyped_storage()
        key = storage._cdata  # noqa: SLF001  # torch gives a storage no public identity
        if key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        self.live += self._sizes[key]
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self.live -= self._sizes.pop(key)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and count what it returns."""
        del types
        out = func(*args, **(kwargs or {}))
        for leaf in tree_iter(out):
            if isinstance(leaf, torch.Tensor):
                self.hold(leaf)
        return out


def weights(model: nn.Module) -> int:
    """Return the bytes of a model's parameters and buffers, tied ones once."""
    mode = Live()
    for tensor in (*model.parameters(), *model.buffers()):
        mode.hold(tensor)
    return mode.live


def moments(model: nn.Module) -> int:
    """Return the bytes of Adam's two moments of what learns."""
    return sum(2 * tensor.nbytes for tensor in model.parameters() if tensor.requires_grad)


def training_peak(model: nn.Module, optimizer: str, loss: Callable[[], torch.Tensor]) -> int:
    """Return the peak bytes of training steps: the second step, when gradients and optimiser states are there.

    `optimizer` is "adam" or "sgd"; `loss` runs the forward pass.
    """
    mode = Live()
    for tensor in (*model.parameters(), *model.buffers()):
        mode.hold(tensor)
    learned = [tensor for tensor in model.parameters() if tensor.requires_grad]
    steps = torch.optim.AdamW(learned) if optimizer == "adam" else torch.optim.SGD(learned)
    with mode:
        for _ in range(2):
            loss().backward()
            steps.step()
            steps.zero_grad()
    return mode.peak


def inference_peak(model: nn.Module, run: Callable[[], object]) -> int:
    """Return the peak bytes of one forward pass without gradients; what `run` returns is held until its end."""
    mode = Live()
    for tensor in (*model.parameters(), *model.buffers()):
        mode.hold(tensor)
    with torch.no_grad(), mode:
        run()
    return mode.peak
