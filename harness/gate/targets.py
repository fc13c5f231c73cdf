"""What is gated: `gate.yaml` in, frozen data out. Loading it does nothing else.

    gate: {alpha: 1%, min_effect: 2%, tolerance: 3%, forks: 8, blocks: 160, confirmations: 1}   # all optional
    meters: [auto]
    cases:
      - {name: encode, target: "mypackage.work:encode", args: {n: 100}, tasks: 32}
      - {name: cli, command: [python, -m, mypackage.cli, data.txt]}
      - {name: decode, pytest: "tests/test_speed.py::test_decode"}
      - {suite: configs/quick.yaml, k: onnxruntime}
    overrides: {"cli*": {warn: true, min_effect: 5%}}
    accept: [{case: encode, up_to: 4%, reason: "checks its input now", expires: 2026-12-31}]

A message about a bad file names the file, the line, the path in it, and the nearest valid key.
"""

from __future__ import annotations

import datetime as dt
import difflib
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from harness.errors import ConfigError
from harness.gate.limits import out_of_bounds
from harness.gate.model import Policy
from harness.records import Frozen
from harness.yamlfile import line_of, path_of, read_mapping

EXAMPLE = """\
cases:
  - name: encode
    target: mypackage.work:encode
"""
"""The smallest useful `gate.yaml`."""


class Share(float):
    """A relative change; files write it `2%` or `0.02`."""


class CallableTarget(Frozen, frozen=True, kw_only=True):
    """A function `package.module:name`, called with `args`; one call is `tasks` tasks.

    `check: result` compares what it returns between the arms; an object with `scores` (one number an item) is
    judged item by item instead.
    """

    name: str
    target: str
    args: dict[str, Any] = {}
    tasks: int = 1
    check: Literal["result", "none"] = "result"
    threads: int = 1


class CommandTarget(Frozen, frozen=True, kw_only=True):
    """A program, started anew for every repeat; `python` is the arm's own. `check: stdout` compares its output."""

    name: str
    command: tuple[str, ...]
    tasks: int = 1
    check: Literal["stdout", "none"] = "stdout"
    threads: int = 1


class PytestTarget(Frozen, frozen=True, kw_only=True):
    """A pytest test, relative to the config's folder: what it gives to the fixture `energy` is repeated.

    Its own assertions are checked once, before anything is measured.
    """

    name: str
    pytest: str
    tasks: int = 1
    check: Literal["result", "none"] = "result"
    threads: int = 1


class SuiteTarget(Frozen, frozen=True, kw_only=True):
    """A joulebench suite, relative to the config's folder: each of its infer cases that `k` keeps is gated."""

    suite: str
    k: str = ""
    name: str | None = None

    @property
    def stem(self) -> str:
        """What the names of its cases begin with."""
        return self.name or Path(self.suite).stem


Target = CallableTarget | CommandTarget | PytestTarget | SuiteTarget


class Override(Frozen, frozen=True, kw_only=True):
    """What is different for cases whose name matches; `warn` reports and never fails the gate."""

    warn: bool = False
    min_effect: Share | None = None
    tolerance: Share | None = None
    quality_loss: float | None = None


class Accept(Frozen, frozen=True, kw_only=True):
    """A known cost that a person accepted: this case may cost up to so much more, until the day `expires` is over."""

    case: str
    up_to: Share
    reason: str
    expires: dt.date

    @property
    def label(self) -> str:
        """How results name this entry."""
        return f"up to +{self.up_to:.3g} until {self.expires}: {self.reason}"


class GateConfig(Frozen, frozen=True, kw_only=True):
    """Everything a gate is asked to do; `expired` entries are listed and ignored."""

    policy: Policy = Policy()
    meters: tuple[str, ...] = ("auto",)
    cases: tuple[Target, ...]
    overrides: dict[str, Override] = {}
    accept: tuple[Accept, ...] = ()
    expired: tuple[Accept, ...] = ()


class _Promises(Frozen, frozen=True, kw_only=True):
    """The section `gate`, as it is written: `Policy` with percentages."""

    alpha: Share | None = None
    min_effect: Share | None = None
    tolerance: Share | None = None
    looks: int | None = None
    forks: int | None = None
    blocks: int | None = None
    confirmations: int | None = None
    control_drift: Share | None = None
    quality_loss: float | None = None
    slot_s: float | None = None


class _File(Frozen, frozen=True, kw_only=True):
    gate: _Promises = _Promises()
    meters: tuple[str, ...] = ("auto",)
    cases: tuple[dict[str, Any], ...]
    overrides: dict[str, Override] = {}
    accept: tuple[Accept, ...] = ()


_KINDS: dict[str, type[Target]] = {
    "target": CallableTarget,
    "command": CommandTarget,
    "pytest": PytestTarget,
    "suite": SuiteTarget,
}
_SECTIONS: dict[str, type[Frozen]] = {"gate": _Promises, "overrides": Override, "accept": Accept}


def load(path: Path, *, today: dt.date | None = None) -> GateConfig:
    """Return the gate's configuration in a YAML file.

    Args:
        path: the file.
        today: the day by which entries of `accept` expire; by default today in UTC.

    Raises: ConfigError: unreadable, an unknown key, a wrong type, a value out of range, a name that stands twice.
    """
    document, node = read_mapping(path, "gate's configuration", _File.__struct_fields__)
    file: _File = _converted(document, _File, (), path, node)
    cases = tuple(_case(row, ("cases", str(place)), path, node) for place, row in enumerate(file.cases))
    policy = _changed(Policy(), file.gate, _Promises.__struct_fields__)
    _check(cases, file, path, node)
    day = today or dt.datetime.now(dt.UTC).date()
    return GateConfig(
        policy=policy,
        meters=file.meters,
        cases=cases,
        overrides=file.overrides,
        accept=tuple(entry for entry in file.accept if entry.expires >= day),
        expired=tuple(entry for entry in file.accept if entry.expires < day),
    )


def policy_of(config: GateConfig, name: str) -> Policy:
    """Return what is promised of one case: the gate's policy with every override whose pattern matches, in order."""
    policy = config.policy
    for pattern, override in config.overrides.items():
        if fnmatchcase(name, pattern):
            policy = _changed(policy, override, ("min_effect", "tolerance", "quality_loss"))
    return policy


def advisory(config: GateConfig, name: str) -> bool:
    """Say whether a case is only reported."""
    return any(override.warn and fnmatchcase(name, pattern) for pattern, override in config.overrides.items())


def accepted(config: GateConfig, name: str) -> Accept | None:
    """Return the entry that accepts a cost of this case, if one is in force."""
    return next((entry for entry in config.accept if entry.case == name), None)


def unmatched(config: GateConfig, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the override patterns and accepted cases that fit none of these names: most likely misspelt."""
    patterns = [f"overrides.{p}" for p in config.overrides if not any(fnmatchcase(name, p) for name in names)]
    entries = [f"accept: {e.case}" for e in (*config.accept, *config.expired) if e.case not in names]
    return (*patterns, *entries)


def _changed(policy: Policy, by: Frozen, keys: tuple[str, ...]) -> Policy:
    """Return the policy with what was written; shares become plain floats, which msgspec can write."""
    written = {key: getattr(by, key) for key in keys if getattr(by, key) is not None}
    plain = {key: float(value) if isinstance(value, Share) else value for key, value in written.items()}
    return msgspec.structs.replace(policy, **plain)


def _case(row: dict[str, Any], where: tuple[str, ...], path: Path, node: yaml.Node) -> Target:
    kinds = [key for key in _KINDS if key in row]
    if len(kinds) != 1:
        found = " and ".join(kinds) or "none of them"
        raise _error(path, node, where, f"a case has one of {', '.join(_KINDS)}; this one has {found}")
    target: Target = _converted(row, _KINDS[kinds[0]], where, path, node)
    problem = _problem(target)
    if problem:
        raise _error(path, node, (*where, problem[0]), problem[1])
    return target


def _problem(target: Target) -> tuple[str, str] | None:
    if isinstance(target, CallableTarget) and not re.fullmatch(r"[\w.]+:[\w.]+", target.target):
        return "target", f"{target.target!r} is not of the form package.module:function"
    if isinstance(target, CommandTarget) and not target.command:
        return "command", "name a program and its arguments, for example [python, -m, mypackage.cli]"
    if isinstance(target, PytestTarget) and not re.fullmatch(r"[^:]+\.py::.+", target.pytest):
        return "pytest", f"{target.pytest!r} is not of the form tests/test_speed.py::test_encode"
    if isinstance(target, SuiteTarget):
        return None
    if target.tasks < 1:
        return "tasks", "must be 1 or more"
    return None if target.threads >= 1 else ("threads", "must be 1 or more")


def _check(cases: tuple[Target, ...], file: _File, path: Path, node: yaml.Node) -> None:
    if not cases:
        raise _error(path, node, ("cases",), f"name at least one case, for example\n\n{EXAMPLE}")
    names: set[str] = set()
    for place, target in enumerate(cases):
        name = target.stem if isinstance(target, SuiteTarget) else target.name
        if not name or name in names:
            what = f"the name {name!r} stands twice; keep one" if name else "must not be empty"
            raise _error(path, node, ("cases", str(place), "name"), what)
        names.add(name)
    sections: list[tuple[tuple[str, ...], Frozen]] = [(("gate",), file.gate)]
    sections += [(("overrides", pattern), override) for pattern, override in file.overrides.items()]
    sections += [(("accept", str(place)), entry) for place, entry in enumerate(file.accept)]
    for where, section in sections:
        if wrong := out_of_bounds(section):
            raise _error(path, node, (*where, wrong[0]), wrong[1])
    twice = [e.case for place, e in enumerate(file.accept) if e.case in {o.case for o in file.accept[:place]}]
    if twice:
        raise _error(path, node, ("accept",), f"the case {twice[0]!r} is accepted twice; keep one entry")


def _converted(value: Any, kind: Any, where: tuple[str, ...], path: Path, node: yaml.Node) -> Any:
    try:
        return msgspec.convert(value, kind, dec_hook=_share)
    except msgspec.ValidationError as error:
        raise _error(path, node, *_explained(str(error), kind, where)) from error


def _explained(message: str, kind: Any, where: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Return the path in the file, and what is wrong there."""
    below = path_of(message)
    if "..." in below:
        # msgspec writes `$.overrides[...]` for whatever key of a mapping it was.
        below = below[:1]
    reason = re.sub(r" - at `.*`$", "", message)
    unknown = re.search(r"unknown field `([^`]*)`", message)
    if not unknown:
        return (*where, *below), reason
    key = unknown[1]
    struct = _SECTIONS.get(below[0], kind) if below else kind
    valid = struct.__struct_fields__
    near = difflib.get_close_matches(key, valid, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return (*where, *below, key), f"unknown key {key!r}{hint} (valid: {', '.join(valid)})"


def _share(kind: type, value: Any) -> Any:
    if kind is not Share:
        raise NotImplementedError(kind)
    if isinstance(value, str) and (found := re.fullmatch(r"\s*\+?(\d+(?:\.\d+)?)\s*%\s*", value)):
        return Share(float(found[1]) / 100)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1:
        return Share(value)
    raise ValueError(f"{value!r} is not a share; write 2% or 0.02")


def _error(path: Path, node: yaml.Node, where: tuple[str, ...], what: str) -> ConfigError:
    return ConfigError(f"{path}{line_of(node, where)}: {'.'.join(where) or 'the file'}: {what}")
