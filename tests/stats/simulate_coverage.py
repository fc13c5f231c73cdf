"""Coverage of nominal 95 % intervals, as the docstring of harness/stats/paired.py states it. Not a test: slow.

python tests/stats/simulate_coverage.py [samples]
"""

from __future__ import annotations

import sys

import numpy as np

from harness.stats import interval, locate

FORKS, FORK_SDS = (1, 2, 3, 4, 6, 8), (0.0, 0.25, 0.5, 1.0)


def blocks(rng: np.random.Generator, kind: str, shape: tuple[int, int]) -> np.ndarray:
    """Noise of standard deviation 1: normal, heavy-tailed, or contaminated."""
    if kind == "normal":
        return rng.normal(size=shape)
    if kind == "t3":
        return rng.standard_t(3, size=shape) / np.sqrt(3)
    return rng.normal(size=shape) * np.where(rng.random(shape) < 0.1, 5.0, 1.0) / np.sqrt(0.9 + 2.5)


def coverage(forks: int, per_fork: int, fork_sd: float, kind: str, *, samples: int, seed: int = 1) -> float:
    """Share of 95 % intervals that hold the truth, 0."""
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(samples):
        d = blocks(rng, kind, (forks, per_fork)) + fork_sd * rng.normal(size=(forks, 1))
        found = interval(locate(dict(enumerate(d))), 0.95)
        hits += found.low <= 0 <= found.high
    return hits / samples


def main(samples: int) -> None:
    for forks in FORKS:
        worst = [
            min(coverage(forks, n, sd, kind, samples=samples) for kind in ("normal", "t3", "mixed") for n in (4, 12))
            for sd in FORK_SDS
        ]
        sys.stdout.write(f"{forks} forks: " + "  ".join(f"{share:.1%}" for share in worst) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4000)
