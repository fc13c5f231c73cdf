"""Coverage of nominal 95 % intervals, as the docstring of harness/stats/power_law.py states it. Not a test: slow.

python tests/stats/simulate_power_law.py [samples]
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np

from harness.stats.power_law import PowerLaw, fit


class Truth(NamedTuple):
    """What is true of a simulated sweep; spreads are of logarithms.

    `scatter` moves a size off the line for good, `luck` in one fork, `noise` in one block; `drift` moves all sizes of a
    block together. `bend` is the square term of the logarithm of size.
    """

    sizes: tuple[float, ...]
    exponent: float = 0.9
    bend: float = 0.0
    scatter: float = 0.0
    noise: float = 0.02
    luck: float = 0.0
    drift: float = 0.1
    forks: int = 2
    blocks: int = 4


def draw(truth: Truth, rng: np.random.Generator) -> PowerLaw:
    """Return the law fitted to one simulated sweep."""
    x_K = np.log(np.asarray(truth.sizes))
    shape = (truth.forks, truth.blocks, len(x_K))
    centred_K = x_K - x_K.mean()
    y_FBK = (
        truth.exponent * centred_K
        + truth.bend * centred_K**2
        + truth.scatter * rng.normal(size=len(x_K))
        + truth.luck * rng.normal(size=(truth.forks, 1, len(x_K)))
        + truth.drift * rng.normal(size=(*shape[:2], 1))
        + truth.noise * rng.normal(size=shape)
    )
    blocks = [
        {(fork, block): float(y_FBK[fork, block, k]) for fork in range(truth.forks) for block in range(truth.blocks)}
        for k in range(len(x_K))
    ]
    return fit(truth.sizes, blocks, 0.95)


def coverage(truth: Truth, *, samples: int, seed: int = 1) -> tuple[float, float]:
    """Return the share of intervals that hold the true exponent, and the share of samples with a curvature shown."""
    rng = np.random.default_rng(seed)
    laws = [draw(truth, rng) for _ in range(samples)]
    held = sum(law.low <= truth.exponent <= law.high for law in laws) / samples
    curved = sum(law.curvature is not None and law.curvature.shown for law in laws) / samples
    return held, curved


SIZES = {n: tuple(4e6 * 3.0**k for k in range(n)) for n in (2, 3, 4, 6)}

ROWS = {
    "measurement alone": {"noise": 0.02},
    "forks differ as much as blocks": {"noise": 0.02, "luck": 0.02},
    "scatter of sizes, ten times the noise": {"scatter": 0.2, "noise": 0.02},
    "scatter as large as the noise": {"scatter": 0.02, "noise": 0.02},
}


def main(samples: int) -> None:
    for name, spreads in ROWS.items():
        for n, sizes in SIZES.items():
            if n == 2 and "scatter" in spreads:
                continue
            for forks in (2, 4):
                held, curved = coverage(Truth(sizes, forks=forks, **spreads), samples=samples)
                sys.stdout.write(f"{name}, {n} sizes, {forks} forks: held {held:.1%}, curvature {curved:.1%}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
