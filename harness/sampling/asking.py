"""From a published recipe and a user's wishes to what has to be sampled; what nobody published is chosen and said."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TypeVar

from harness.accounting import Recipe, load_recipes
from harness.accounting.recipes import Fact, PublishedPhase
from harness.errors import UsageError
from harness.records import Frozen
from harness.workloads.architectures.steps import StepSpec

CHOSEN = "chosen"
"""The level of a setting that nobody published: the user's, or ours where the note says so."""

DEFAULT_LENGTHS = {"translate": 25}
"""Tokens a sequence where the recipe gives none. Ours: no source says it, and the record says that. A sentence has
about as many, and 25,000 tokens are then 1,000 whole sequences."""

_DEFAULT_OPTIMIZER, _DEFAULT_PRECISION = "Adam", "float32"
_SEQUENCES = "sequences"
_TOKENS = ("target tokens", "tokens")

T = TypeVar("T", int, float, str)


class Setting(Frozen, frozen=True, kw_only=True):
    """A number or name that the sample was made with; `level` is that of the recipe's figure, or `chosen`."""

    value: float | int | str
    level: str
    note: str = ""

    @property
    def number(self) -> float:
        """The value as a number."""
        return float(self.value)


class AskedPhase(Frozen, frozen=True, kw_only=True):
    """One phase to sample: `steps` of the full run, `length` in tokens a sequence, `sequences` a published step."""

    name: str
    steps: Setting
    length: Setting
    sequences: float

    @property
    def tokens(self) -> int:
        """Tokens a sequence."""
        return int(self.length.number)


class Asked(Frozen, frozen=True, kw_only=True):
    """What has to be sampled of a recipe; `notes` say what was chosen because nobody published it."""

    recipe: Recipe
    spec: StepSpec
    phases: tuple[AskedPhase, ...]
    notes: tuple[str, ...]


def find(name: str, path: Path | None = None) -> Recipe:
    """Return a packaged recipe, or one of a file in the same format; a workload that has only one needs no size.

    Raises: UsageError: there is none of that name; names the nearest, and all. ConfigError: the file is not valid.
    """
    known = load_recipes(path)
    if name in known:
        return known[name]
    of_workload = [recipe for recipe in known.values() if recipe.workload == name]
    if len(of_workload) == 1:
        return of_workload[0]
    near = [recipe.name for recipe in of_workload] or difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {' or '.join(repr(each) for each in near)}?" if near else "."
    raise UsageError(f"there is no recipe {name!r}{hint} There are {', '.join(known)}")


def ask(recipe: Recipe, *, steps: int | None = None, length: int | None = None, seed: int = 0) -> Asked:
    """Return what to sample of a recipe.

    Args:
        recipe: What was published.
        steps: Of the full run, in place of the published number or where there is none.
        length: Tokens a sequence, where none was published.
        seed: Of weights and tokens.

    Raises: UsageError: a figure that is needed was not published and is not given, one that was published is given, or
        the recipe's optimizer, precision, batch unit or model has no code here.
    """
    notes: list[str] = []
    optimizer = _or_chosen(recipe.optimizer, "optimizer", _DEFAULT_OPTIMIZER, notes)
    precision = _or_chosen(recipe.precision, "precision", _DEFAULT_PRECISION, notes)
    spec = StepSpec(workload=recipe.workload, size=recipe.size, optimizer=optimizer, precision=precision, seed=seed)
    spec.preset()
    whole = _steps(recipe, steps, notes)
    phases = tuple(_phase(recipe, phase, whole, length, notes) for phase in recipe.phases)
    return Asked(recipe=recipe, spec=spec, phases=phases, notes=tuple(dict.fromkeys(notes)))


def _phase(recipe: Recipe, phase: PublishedPhase, whole: Setting, length: int | None, notes: list[str]) -> AskedPhase:
    share = _known(phase.share, f"the share of phase {phase.name} of {recipe.name}")
    tokens = _length(recipe, phase, length, notes)
    return AskedPhase(
        name=phase.name,
        steps=Setting(value=share * whole.number, level=whole.level, note=whole.note),
        length=tokens,
        sequences=_sequences(recipe, phase, tokens.number),
    )


def _steps(recipe: Recipe, steps: int | None, notes: list[str]) -> Setting:
    """Return the steps of the full run: those asked for, else those published.

    Raises: UsageError: neither; names recipes of the workload that publish theirs.
    """
    published = recipe.steps
    if steps is not None:
        if steps < 1:
            raise UsageError(f"a full run has one step or more, not {steps}")
        said = "none were published" if published.value is None else f"the recipe has {published.value:,}"
        notes.append(f"the full run is one of {steps:,} steps, chosen by whoever asked; {said}")
        return Setting(value=steps, level=CHOSEN, note=said)
    if published.value is None:
        others = [
            other.name
            for other in load_recipes().values()
            if other.workload == recipe.workload and other.steps.value is not None
        ]
        instead = f"sample {' or '.join(others)} instead, or give" if others else "give"
        raise UsageError(
            f"the number of steps of {recipe.name} was not published ({published.note}), so there is no full run to "
            f"extrapolate to; {instead} a number of your own with --steps"
        )
    return Setting(value=published.value, level=published.level.value, note=published.note)


def _length(recipe: Recipe, phase: PublishedPhase, length: int | None, notes: list[str]) -> Setting:
    published = phase.sequence_length
    where = f"phase {phase.name} of {recipe.name}"
    if published.value is not None:
        if length is not None and length != published.value:
            raise UsageError(f"{where} has sequences of {published.value} tokens by its recipe; leave --length out")
        return Setting(value=published.value, level=published.level.value, note=published.note)
    chosen = DEFAULT_LENGTHS.get(recipe.workload) if length is None else length
    if chosen is None:
        raise UsageError(f"the sequence length of {where} was not published ({published.note}); give one with --length")
    if chosen < 2:
        raise UsageError(f"a sequence has two tokens or more, not {chosen}")
    notes.append(f"{phase.name}: sequences of {chosen} tokens, chosen: no length was published ({published.note})")
    return Setting(value=chosen, level=CHOSEN, note=published.note)


def _sequences(recipe: Recipe, phase: PublishedPhase, tokens: float) -> float:
    batch = _known(recipe.batch, f"the batch of {recipe.name}")
    if recipe.batch_unit == _SEQUENCES:
        return float(batch)
    if recipe.batch_unit not in _TOKENS:
        known = ", ".join((_SEQUENCES, *_TOKENS))
        raise UsageError(f"{recipe.name} counts its batch in {recipe.batch_unit!r}; a sample knows {known}")
    if batch < tokens:
        raise UsageError(
            f"a step of {recipe.name} holds {batch} {recipe.batch_unit}, less than one sequence of {tokens:g} in phase "
            f"{phase.name}; give a shorter --length"
        )
    return batch / tokens


def _or_chosen(fact: Fact[str], what: str, chosen: str, notes: list[str]) -> str:
    if fact.value is not None:
        return fact.value
    notes.append(f"{what} {chosen}, chosen: none was published ({fact.note})")
    return chosen


def _known(fact: Fact[T], what: str) -> T:
    if fact.value is None:
        raise UsageError(
            f"{what} was not published ({fact.note}); sample a recipe that has it, or write one of your own"
        )
    return fact.value
