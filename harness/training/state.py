"""What a training needs to go on in a fresh process, as tensors: weights, the optimiser's moments, random states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import ModelError

if TYPE_CHECKING:
    import torch

_MODEL, _OPTIMISER, _CPU, _CUDA = "model/", "optimiser/", "random/cpu", "random/cuda"


def capture(model: torch.nn.Module, optimiser: Any, device: str) -> dict[str, torch.Tensor]:
    """Return by name, on the CPU, everything that the next step depends on.

    On the CPU these are the tensors that the next step changes, so that keeping them takes no memory: write them first.
    """
    import torch

    found = {f"{_MODEL}{name}": tensor for name, tensor in model.state_dict().items()}
    for row, moments in optimiser.state_dict()["state"].items():
        found |= {f"{_OPTIMISER}{row}/{name}": tensor for name, tensor in moments.items()}
    found[_CPU] = torch.get_rng_state()
    if device != "cpu":
        found[_CUDA] = torch.cuda.get_rng_state(device)
    seen: set[int] = set()
    for name, tensor in found.items():
        here = tensor.detach().cpu().contiguous()
        place = here.untyped_storage().data_ptr()
        # Tied weights share memory, which a file of tensors cannot say; a copy can be written.
        found[name] = here.clone() if place in seen else here
        seen.add(place)
    return found


def restore(model: torch.nn.Module, optimiser: Any, device: str, state: Mapping[str, torch.Tensor]) -> None:
    """Put a captured state back into a model and an optimiser that were made as they were then.

    Raises: ModelError: the state is of another model.
    """
    import torch

    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in state.items():
        if name.startswith(_OPTIMISER):
            row, _, what = name.removeprefix(_OPTIMISER).partition("/")
            moments.setdefault(int(row), {})[what] = tensor
    weights = {name.removeprefix(_MODEL): tensor for name, tensor in state.items() if name.startswith(_MODEL)}
    try:
        model.load_state_dict(weights)
        optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
        torch.set_rng_state(state[_CPU])
        if device != "cpu":
            torch.cuda.set_rng_state(state[_CUDA], device)
    except (RuntimeError, ValueError, KeyError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"the kept state of training is not of this model: {reason}") from error
