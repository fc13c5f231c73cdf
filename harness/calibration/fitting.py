"""From windows of known load to watts per busy vCPU, with what is known of the error.

P = idle + dynamic · busy vCPUs by ordinary least squares over all windows. Its 95 % confidence interval says
how well *this mix* of work is known; another program is another mix at another load, so the interval that a
profile states (`low_w` to `high_w`) spans more: the confidence intervals of the mix, of each kind of work by
itself and of the watts above idle at each load, the mean of each kind at each load, and the error of predicting
a load that was left out of the fit.

The check of linearity adds a quadratic term (and lets each kind of work have its own slope): sibling threads
that share a core, and clocks that fall as more cores work, bend the line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from harness.errors import InvalidMeasurement
from harness.meters.profiles import LevelPower
from harness.records import Frozen

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]

CONFIDENCE = 0.95
BENT_SHARE = 0.05
"""How far the line must bend, as a share of the dynamic power at full load, to be called non-linear."""
BENT_ALPHA = 0.01
IDLE = "idle"


class LoadWindow(Frozen, frozen=True, kw_only=True):
    """One window under a known load: `level` vCPUs asked to run `kind`, `busy_vcpus` that really ran, mean power."""

    kind: str
    level: int
    busy_vcpus: float
    power_w: float


class Fit(Frozen, frozen=True, kw_only=True):
    """What the windows say. Intervals are 95 % confidence intervals but for `low_w` to `high_w` (see the module).

    `error_w` is the root mean square error at a load that was left out, `residual_w` the standard deviation
    of the residuals, `by_kind_w` the watts per vCPU of each kind of work by itself.
    """

    idle_w: float
    idle_low_w: float
    idle_high_w: float
    dynamic_w: float
    dynamic_low_w: float
    dynamic_high_w: float
    low_w: float
    high_w: float
    error_w: float
    residual_w: float
    by_kind_w: dict[str, float]
    levels: tuple[LevelPower, ...]
    linear: bool
    windows: int


def fit(windows: Sequence[LoadWindow]) -> Fit:
    """Return the fit over windows of idle and at least one load.

    Raises: InvalidMeasurement: too few windows or loads, or power that does not rise with load.
    """
    busy = [window for window in windows if window.level > 0]
    if len(windows) < 4 or not busy or len(busy) == len(windows):
        raise InvalidMeasurement(
            f"{len(windows)} windows, {len(busy)} of them under load, do not give a line; let it run for longer"
        )
    x = [window.busy_vcpus for window in windows]
    y = [window.power_w for window in windows]
    (idle_w, dynamic_w), (idle_half_w, half_w), residual_w = _line(x, y)
    if dynamic_w - half_w <= 0:
        raise InvalidMeasurement(
            f"the power does not rise clearly with the load ({dynamic_w:.3g} ± {half_w:.2g} W per busy vCPU): the "
            "meter may not cover this CPU, or the host was too restless; check the meter with `joulebench doctor`, "
            "and let it run for longer"
        )
    levels = _levels(windows)
    error_w = _left_out_error_w(windows)
    by_kind = {kind: _kind_line(windows, kind) for kind in sorted({window.kind for window in busy})}
    share = error_w / (dynamic_w * max(x))
    views = [dynamic_w - half_w, dynamic_w + half_w, dynamic_w * (1 - share), dynamic_w * (1 + share)]
    views += [slope + sign * half for slope, half in by_kind.values() for sign in (-1, 1)]
    views += _above_idle_w(windows)
    return Fit(
        idle_w=max(0.0, idle_w),
        idle_low_w=max(0.0, idle_w - idle_half_w),
        idle_high_w=idle_w + idle_half_w,
        dynamic_w=dynamic_w,
        dynamic_low_w=dynamic_w - half_w,
        dynamic_high_w=dynamic_w + half_w,
        low_w=max(0.0, min(views)),
        high_w=max(views),
        error_w=error_w,
        residual_w=residual_w,
        by_kind_w={kind: slope for kind, (slope, _) in by_kind.items()},
        levels=levels,
        linear=not _bent(windows, dynamic_w),
        windows=len(windows),
    )


def _line(x: Sequence[float], y: Sequence[float]) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Return (idle, slope), the half-widths of their confidence intervals, and the residuals' standard deviation."""
    import numpy as np

    design = np.column_stack([np.ones(len(x)), np.asarray(x, dtype=float)])
    beta, errors, sd, freedom = _least_squares(design, np.asarray(y, dtype=float))
    t = _t(freedom)
    return (float(beta[0]), float(beta[1])), (t * float(errors[0]), t * float(errors[1])), sd


def _least_squares(design: Vector, y: Vector) -> tuple[Vector, Vector, float, int]:
    """Return the coefficients, their standard errors, the residuals' standard deviation and degrees of freedom."""
    import numpy as np

    beta, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    freedom = len(y) - design.shape[1]
    if rank < design.shape[1] or freedom < 1:
        raise InvalidMeasurement("the windows do not hold enough different loads for a line; let it run for longer")
    residuals = y - design @ beta
    variance = float(residuals @ residuals) / freedom
    errors = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    return np.asarray(beta, dtype=np.float64), np.asarray(errors, dtype=np.float64), math.sqrt(variance), freedom


def _t(freedom: int) -> float:
    from scipy import stats

    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))


def _kind_line(windows: Sequence[LoadWindow], kind: str) -> tuple[float, float]:
    """Return the slope of one kind of work with idle, and its half-width."""
    mine = [window for window in windows if window.kind == kind or window.level == 0]
    (_, slope), (_, half), _ = _line([window.busy_vcpus for window in mine], [window.power_w for window in mine])
    return slope, half


def _idle(windows: Sequence[LoadWindow]) -> tuple[float, float]:
    """Return the mean busy vCPUs and the mean power of the idle windows."""
    still = [window for window in windows if window.level == 0]
    return fmean(window.busy_vcpus for window in still), fmean(window.power_w for window in still)


def _above_idle_w(windows: Sequence[LoadWindow]) -> list[float]:
    """Return views of the watts per busy vCPU above idle: each load's confidence interval, each cell's mean."""
    idle_busy, idle_w = _idle(windows)
    views: list[float] = []
    for level in sorted({window.level for window in windows} - {0}):
        mine = [window for window in windows if window.level == level and window.busy_vcpus > idle_busy]
        slopes = [(window.power_w - idle_w) / (window.busy_vcpus - idle_busy) for window in mine]
        if len(slopes) > 1:
            half_w = _t(len(slopes) - 1) * stdev(slopes) / math.sqrt(len(slopes))
            views += [fmean(slopes) - half_w, fmean(slopes) + half_w]
        for kind in {window.kind for window in mine}:
            cell = [slope for window, slope in zip(mine, slopes, strict=True) if window.kind == kind]
            views.append(fmean(cell))
    return views


def _levels(windows: Sequence[LoadWindow]) -> tuple[LevelPower, ...]:
    groups: dict[tuple[int, str], list[LoadWindow]] = {}
    for window in windows:
        groups.setdefault((window.level, window.kind if window.level else IDLE), []).append(window)
    return tuple(
        LevelPower(
            kind=kind,
            busy_vcpus=fmean(window.busy_vcpus for window in group),
            power_w=fmean(window.power_w for window in group),
            windows=len(group),
        )
        for (_, kind), group in sorted(groups.items())
    )


def _left_out_error_w(windows: Sequence[LoadWindow]) -> float:
    """Return the root mean square error of the mean power at each load, predicted from the other loads.

    With only one load beside idle there is none to leave out; the scatter of the windows stands in.
    """
    levels = sorted({window.level for window in windows})
    if len(levels) < 3:
        return _line([window.busy_vcpus for window in windows], [window.power_w for window in windows])[2]
    squares = []
    for level in levels:
        kept = [window for window in windows if window.level != level]
        out = [window for window in windows if window.level == level]
        (idle_w, slope), _, _ = _line([window.busy_vcpus for window in kept], [window.power_w for window in kept])
        squares.append(fmean(window.power_w - idle_w - slope * window.busy_vcpus for window in out) ** 2)
    return math.sqrt(fmean(squares))


def _bent(windows: Sequence[LoadWindow], dynamic_w: float) -> bool:
    """Return whether a quadratic term is both significant and large."""
    import numpy as np
    from scipy import stats

    kinds = sorted({window.kind for window in windows if window.level > 0})
    x = np.array([window.busy_vcpus for window in windows])
    y = np.array([window.power_w for window in windows])
    if len({window.level for window in windows}) < 3 or len(windows) < len(kinds) + 4:
        return False
    columns: list[Any] = [np.ones(len(x))]
    columns += [x * np.array([window.kind == kind for window in windows]) for kind in kinds]
    beta, errors, _, freedom = _least_squares(np.column_stack([*columns, x**2]), y)
    full = float(x.max())
    share = abs(float(beta[-1])) * full**2 / 4 / (dynamic_w * full)
    p_value = 2 * float(stats.t.sf(abs(float(beta[-1])) / max(float(errors[-1]), 1e-12), freedom))
    return share > BENT_SHARE and p_value < BENT_ALPHA
