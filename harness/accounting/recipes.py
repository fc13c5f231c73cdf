"""Published training recipes: what was run, on what, for how long, and where each figure is from.

`recipes.yaml` beside this file holds them. Every figure names its source and how it reached us; a figure that was
never published has no value and says so, so that nothing can be computed from it by accident.
"""

from __future__ import annotations

import math
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from harness.accounting.sampled import Overhead
from harness.errors import ConfigError, NotMeasured
from harness.records import Frozen

VERSION = 1
"""Version of the recipe format. 1: first format (2026-11)."""

T = TypeVar("T", int, float, str)

_SHARES_OFF = 1e-9


class Level(StrEnum):
    """How a figure reached us, strongest first.

    primary: read in the source. quoted: the source's words, read in another public text. secondary: reported by
    another work. derived: computed here from figures of the recipe, as the note says. recalled: from memory, to be
    checked before quoting. unpublished: looked for and not found; there is no value.
    """

    PRIMARY = "primary"
    QUOTED = "quoted"
    SECONDARY = "secondary"
    DERIVED = "derived"
    RECALLED = "recalled"
    UNPUBLISHED = "unpublished"


class Fact(Frozen, Generic[T], frozen=True, kw_only=True):
    """One published figure. `value` is None if, and only if, it was not published; the note then says why."""

    value: T | None = None
    level: Level
    source: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse a value without a source, and a level that its value contradicts.

        Raises: ValueError: which msgspec turns into a validation error when it reads a file.
        """
        if (self.value is None) != (self.level is Level.UNPUBLISHED):
            raise ValueError("a figure has a value, or else the level `unpublished`; it cannot have both or neither")
        if self.value is None and not self.note:
            raise ValueError("an unpublished figure needs a note that says what is known")
        if self.value is not None and not self.source:
            raise ValueError("a figure needs the id of its source")
        if self.level is Level.DERIVED and not self.note:
            raise ValueError("a derived figure needs a note that says how it was derived")
        if isinstance(self.value, int | float) and not (0 < self.value < math.inf):
            raise ValueError(f"a figure must be positive, not {self.value}")

    def required(self, what: str) -> T:
        """Return the value; `what` names the figure in the message.

        Raises: NotMeasured: it was not published.
        """
        if self.value is None:
            raise NotMeasured(f"{what} was not published: {self.note}")
        return self.value


class PublishedPhase(Frozen, frozen=True, kw_only=True):
    """A stretch of a recipe with steps of one kind; `share` of the steps (0-1), `sequence_length` in tokens."""

    name: str
    share: Fact[float]
    sequence_length: Fact[int]


class PublishedRun(Frozen, frozen=True, kw_only=True):
    """Hardware on which the recipe was run, as published.

    `power_w` is the mean of all devices and hosts, which Strubell et al. measured on other GPUs; `energy_kwh` and
    `cost_usd_*` are their table's, the former with a PUE of 1.58.
    """

    hardware: Fact[str]
    devices: Fact[int]
    duration_h: Fact[float]
    step_s: Fact[float] | None = None
    power_w: Fact[float] | None = None
    energy_kwh: Fact[float] | None = None
    cost_usd_low: Fact[float] | None = None
    cost_usd_high: Fact[float] | None = None
    note: str = ""


class Recipe(Frozen, frozen=True, kw_only=True):
    """One published training; `batch` counts `batch_unit` a step, over all devices."""

    name: str
    title: str
    workload: str
    size: str
    parameters: Fact[int]
    data: Fact[str]
    steps: Fact[int]
    epochs: Fact[float] | None = None
    batch: Fact[int]
    batch_unit: str
    tokens_per_step: Fact[int] | None = None
    optimizer: Fact[str]
    precision: Fact[str]
    phases: tuple[PublishedPhase, ...]
    runs: tuple[PublishedRun, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse phases that are not the whole of the steps.

        Raises: ValueError: which msgspec turns into a validation error when it reads a file.
        """
        names = [phase.name for phase in self.phases]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"{self.name}: a recipe needs phases of different names, not {names}")
        shares = [phase.share.value for phase in self.phases]
        known = [share for share in shares if share is not None]
        if len(known) == len(shares) and abs(math.fsum(known) - 1) > _SHARES_OFF:
            raise ValueError(f"{self.name}: the phases' shares add up to {math.fsum(known):g}, not 1")


class Source(Frozen, frozen=True, kw_only=True):
    """Where figures are from."""

    title: str
    where: str


class Book(Frozen, frozen=True, kw_only=True):
    """The data file."""

    version: int
    sources: dict[str, Source]
    recipes: tuple[Recipe, ...]


def load_recipes(path: Path | None = None) -> dict[str, Recipe]:
    """Return recipe by name, of the packaged file or of another in the same format.

    Raises: ConfigError: unreadable, not YAML, an unknown key, a wrong type, a figure that contradicts its level, an
        unknown source, or a name that stands twice.
    """
    return {recipe.name: recipe for recipe in load_book(path).recipes}


def load_book(path: Path | None = None) -> Book:
    """Return the recipes with their sources.

    Raises: ConfigError: as `load_recipes`.
    """
    return _read(path or Path(__file__).with_name("recipes.yaml"))


def published_overhead() -> Overhead:
    """Return what published trainings took beyond steps × seconds a step, as a share: the prior for the overhead.

    Its bounds are the smallest and the largest of the recipes that publish both. They rest on rounded figures (0.4 s a
    step may be 0.35 s to 0.45 s), on two recipes of one paper, and on time, not joules: measure it where you can.
    """
    shares: dict[str, float] = {}
    for recipe in load_recipes().values():
        for run in recipe.runs:
            if run.step_s is None or run.step_s.value is None or recipe.steps.value is None:
                continue
            hours = run.duration_h.required(f"the hours of {recipe.name}")
            shares[recipe.name] = hours * 3600 / (recipe.steps.value * run.step_s.value) - 1
    if not shares:
        raise NotMeasured("no recipe publishes both its hours and its seconds a step")
    low, high = min(shares.values()), max(shares.values())
    said = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
    return Overhead(value=(low + high) / 2, low=low, high=high, source=f"published hours over published steps: {said}")


@cache
def _read(path: Path) -> Book:
    import yaml

    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        book = msgspec.convert(document, type=Book)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"the recipes {path} cannot be read: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"the recipes {path} are not valid: {error}; repair that entry") from error
    if book.version != VERSION:
        raise ConfigError(f"the recipes {path} have version {book.version}; this joulebench reads version {VERSION}")
    names = [recipe.name for recipe in book.recipes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"the recipes {path} hold more than one {', '.join(twice)}; give each a name of its own")
    for recipe in book.recipes:
        if lost := sorted(_sources(msgspec.to_builtins(recipe)) - book.sources.keys()):
            raise ConfigError(f"the recipes {path}: {recipe.name} names unknown sources {', '.join(lost)}; list them")
    return book


def _sources(node: Any) -> set[str]:
    """Return all source ids below a node."""
    if isinstance(node, dict):
        own = {node["source"]} if node.get("source") else set()
        return own.union(*(_sources(each) for each in node.values()))
    if isinstance(node, list | tuple):
        return set().union(*(_sources(each) for each in node))
    return set()
