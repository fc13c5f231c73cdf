"""Power profiles: what a busy vCPU of one type of CPU was measured to draw, by `joulebench calibrate-power`.

A profile is one JSON file. It holds for hosts whose CPU has the same vendor, family, model, brand and
threads a core: stepping and microcode do not move watts by more than a profile's error, the brand names
the part (clock and power limit), and with two threads a core a vCPU is half a core. A guest that hides the
brand or the threads of its host therefore matches no profile of that host.

Profiles lie in `$XDG_DATA_HOME/joulebench/power/` (`~/.local/share` by default) and, for a team, in the folder
that `JOULEBENCH_POWER_PROFILES` names. A file there that cannot be read is an error, never passed over.
"""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path

import msgspec

from harness.errors import ConfigError
from harness.host import read_cpu
from harness.records import Frozen

VERSION = 1
"""Version of the profile format. 1: first format (2026-11)."""

FOLDER_VARIABLE = "JOULEBENCH_POWER_PROFILES"


class CpuType(Frozen, frozen=True, kw_only=True):
    """What hosts must share for a profile to hold on both; a field is None where the host is silent."""

    vendor: str | None
    family: int | None
    model: int | None
    brand: str | None
    threads_per_core: int | None

    @property
    def known(self) -> bool:
        """Whether the host says enough for a profile to be kept for it."""
        return None not in (self.vendor, self.family, self.model)


class LevelPower(Frozen, frozen=True, kw_only=True):
    """Mean power of the windows at one load: `kind` of work (`idle` for none) on `busy_vcpus` vCPUs."""

    kind: str
    busy_vcpus: float
    power_w: float
    windows: int


class Profile(Frozen, frozen=True, kw_only=True):
    """P = idle_w + dynamic_w · busy vCPUs, as fitted on one host, with what is known of its error.

    `low_w` to `high_w` are the watts per busy vCPU between which another kind of work at another load is
    expected; `dynamic_low_w` to `dynamic_high_w` only the 95 % confidence interval of `dynamic_w` for the mix that was
    run. `error_w` is the root mean square error in predicting the power at a load that was left out of the fit,
    `residual_w` the standard deviation of the residuals. `against` is the meter, `boundary` what it covers;
    `whole_machine` says that it is the wall, which holds the memory too. `idle_w` is the whole host's, with
    `vcpus` logical cores.
    """

    version: int
    name: str
    cpu: CpuType
    vcpus: int
    against: str
    boundary: str
    whole_machine: bool
    idle_w: float
    dynamic_w: float
    dynamic_low_w: float
    dynamic_high_w: float
    low_w: float
    high_w: float
    error_w: float
    residual_w: float
    linear: bool
    levels: tuple[LevelPower, ...]
    seed: int
    windows: int
    refused: int
    created_utc: str
    code_version: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse watts that no fit can give.

        Raises: ValueError: which msgspec turns into a validation error when it reads a file.
        """
        if self.version != VERSION:
            raise ValueError(f"version {self.version} is not the version {VERSION} that this joulebench reads")
        watts = (self.idle_w, self.dynamic_w, self.low_w, self.high_w, self.error_w, self.residual_w)
        if not all(math.isfinite(each) and each >= 0 for each in watts):
            raise ValueError("watts must be finite and not negative")
        if not 0 < self.low_w <= self.dynamic_w <= self.high_w:
            raise ValueError(
                f"0 < low_w <= dynamic_w <= high_w does not hold: {self.low_w, self.dynamic_w, self.high_w}"
            )
        if self.vcpus < 1:
            raise ValueError("vcpus must be at least 1")

    @property
    def sha256(self) -> str:
        """Changes whenever any part of the profile changes, and not with the layout of its file."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()

    @property
    def coefficients(self) -> str:
        """How a record names these coefficients: `profile:<name>@<sha8>`."""
        return f"profile:{self.name}@{self.sha256[:8]}"


class Found(Frozen, frozen=True, kw_only=True):
    """The profile of a host, and the names of older ones that match it too."""

    profile: Profile
    older: tuple[str, ...] = ()


def cpu_type(root: Path = Path("/")) -> CpuType:
    """Return the type of this host's CPU, reading `/proc` and `/sys` below `root`."""
    cpu = read_cpu(root)
    return CpuType(
        vendor=cpu.cpu_vendor,
        family=cpu.cpu_family,
        model=cpu.cpu_model,
        brand=cpu.cpu_brand,
        threads_per_core=_threads_per_core(root / "sys/devices/system/cpu/cpu0/topology/thread_siblings_list"),
    )


def home() -> Path:
    """Return the user's own folder of profiles.

    Raises: ConfigError: this user has no home folder and XDG_DATA_HOME is not set.
    """
    data = os.environ.get("XDG_DATA_HOME")
    try:
        return (Path(data) if data else Path.home() / ".local" / "share") / "joulebench" / "power"
    except RuntimeError as error:
        raise ConfigError("this user has no home folder to keep power profiles in; set XDG_DATA_HOME") from error


def folders() -> tuple[Path, ...]:
    """Return the folders that profiles are looked for in.

    Raises: ConfigError: `JOULEBENCH_POWER_PROFILES` names no folder.
    """
    shared = os.environ.get(FOLDER_VARIABLE)
    if shared and not Path(shared).is_dir():
        raise ConfigError(f"{FOLDER_VARIABLE}={shared} is not a folder; unset it, or name a folder of power profiles")
    try:
        own: tuple[Path, ...] = (home(),)
    except ConfigError:
        own = ()  # users without a home (in containers) keep no profiles, and measure all the same
    return (*own, Path(shared)) if shared else own


def find(cpu: CpuType, places: tuple[Path, ...] | None = None) -> Found | None:
    """Return the newest profile for this type of CPU, or None.

    The newest, not the one with the smaller error: calibrating again is meant to replace what was there, and
    errors against different meters do not compare.

    Raises: ConfigError: a profile is broken, whether or not it is for this CPU.
    """
    profiles = [
        read(path) for folder in (folders() if places is None else places) for path in sorted(folder.glob("*.json"))
    ]
    matching = {each.sha256: each for each in profiles if each.cpu == cpu and cpu.known}
    if not matching:
        return None
    newest, *older = sorted(matching.values(), key=lambda each: (each.created_utc, each.name), reverse=True)
    return Found(profile=newest, older=tuple(each.coefficients for each in older))


def read(path: Path) -> Profile:
    """Return the profile in a file.

    Raises: ConfigError: it cannot be read, or is no profile of this version.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Profile)
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise ConfigError(
            f"the power profile {path} cannot be used: {error}. Repair it, remove it, or make it anew with "
            "`joulebench calibrate-power`"
        ) from error


def write(profile: Profile, path: Path) -> None:
    """Write a profile so that a reader sees the old file or the new one, never half.

    Raises: ConfigError: the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(profile)) + b"\n")
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(
            f"cannot write the power profile {path}: {error.strerror or error}; choose another place with --output"
        ) from error


def _threads_per_core(path: Path) -> int | None:
    """Return how many siblings a list such as `0,64` or `0-1` names."""
    try:
        parts = path.read_text(encoding="ascii").strip().split(",")
        spans = [[int(edge) for edge in part.split("-")] for part in parts]
    except (OSError, ValueError):
        return None
    return sum(span[-1] - span[0] + 1 for span in spans)
