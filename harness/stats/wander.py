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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PARTS = 8
"""Parts of a series that the flicker is read from: few enough to be long, enough for seven degrees of freedom."""

SHARED = 0.052
"""√h of virtual machines that others share, as a share of the level: what short samples on them do not show.

From one small training to the next, over an hour, on three such machines: root mean square of `level_rms` in the scores
of the first four folders of trials that docs/decisions/009 lists, weighted by trials less one. Neighbours come and go
and move the level by tenths for minutes, and a quiet sample of seconds cannot know that one will."""


def wander(values: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """Return √h of a series in the order of time, in its unit; it has `PARTS` values or more, which count alike."""
    import numpy as np

    return flicker([float(part.mean()) for part in np.array_split(np.asarray(values, dtype=np.float64), PARTS)])


def flicker(averages: Sequence[float]) -> float:
    """Return √h of adjacent averages of one length, two or more, in their unit."""
    import numpy as np

    n = len(averages)
    return math.sqrt(float(np.var(averages, ddof=1)) * (n - 1) / (n * math.log(n)))
