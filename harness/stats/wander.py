"""How the level of a machine wanders: what of a series no longer run would average away.

Averages over longer and longer stretches of the same work come closer to each other only up to a point: beyond a few
seconds neighbours, clocks and temperature move the level as much as they do over minutes (docs/decisions/009 has the
series). That is flicker (1/f) noise. Among N adjacent averages of one length its variance is h · N ln N / (N − 1)
(Allan 1966, Proceedings of the IEEE 54:221; Barnes 1969, NBS Technical Note 375), so eight parts of a series give h.
What is not flicker in them is charged as if it were: too much on a steady machine, not too little on a restless one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PARTS = 8
"""Parts of a series that the flicker is read from: few enough to be long, enough for seven degrees of freedom."""


class Known(NamedTuple):
    """How machines of a kind wander: √h as a share of the level, and how many degrees of freedom that is worth."""

    share: float
    degrees_of_freedom: float


SHARED = Known(share=0.033, degrees_of_freedom=PARTS - 1)
"""Virtual machines that others share: what 24 samples on one of them showed, worth as much as one sample.

Root mean square over the first tenths in `results/reference/sample-epyc4-2vcpu/honesty` (`wander_rms` in its scores). A
neighbour that comes or goes moves the level by a tenth for minutes, and a quiet sample cannot know that one will."""


def pooled(wandered: float, level: float, degrees_of_freedom: float, known: Known) -> tuple[float, float]:
    """Return √h of a sample together with what is known of its kind of machine, and their degrees of freedom.

    Variances are averaged by their degrees of freedom, as in an inverse chi-square prior (Gelman et al. 2013, Bayesian
    Data Analysis, section 2.6). All √h are in the unit of `level`, the mean of the sample.
    """
    both = degrees_of_freedom + known.degrees_of_freedom
    squares = degrees_of_freedom * wandered**2 + known.degrees_of_freedom * (known.share * level) ** 2
    return math.sqrt(squares / both), both


def wander(values: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """Return √h of a series in the order of time, in its unit; it has `PARTS` values or more, which count alike."""
    import numpy as np

    means = [part.mean() for part in np.array_split(np.asarray(values, dtype=np.float64), PARTS)]
    return math.sqrt(float(np.var(means, ddof=1)) * (PARTS - 1) / (PARTS * math.log(PARTS)))
