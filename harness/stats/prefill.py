"""Generation in two phases: reading the prompt (prefill), and producing tokens one after another (decode).

A block of a case that generates also holds windows in which the same prompts were read alone, up to their first token.
What the whole drew less what those drew, block by block, is what decoding drew: a drift of the machine is in both.
"""

from __future__ import annotations

import math

from harness.errors import NotMeasured
from harness.records import Record, WindowKind
from harness.stats.paired import Interval, by_block, exponential, interval, locate


def prefills(record: Record) -> bool:
    """Say whether the prompts of a case were also measured alone."""
    return any(window.kind is WindowKind.PREFILL for window in record.windows)


def prefill_interval(record: Record, confidence: float) -> Interval:
    """Return joules a task of reading its prompt and producing one token, in a typical block.

    Raises: NotMeasured: fewer than two blocks, or a missing domain.
    """
    blocks = by_block(record.windows, "energy", record.case.name, kind=WindowKind.PREFILL)
    forks: dict[int, list[float]] = {}
    for (fork, _), (energy_j, _) in sorted(blocks.items()):
        forks.setdefault(fork, []).append(math.log(energy_j))
    return exponential(interval(locate(forks), confidence))


def decode_interval(record: Record, confidence: float) -> Interval:
    """Return joules a task of all tokens after the first: the run less its prefill, paired by fork and block.

    It is a difference of two measurements, so its interval may reach below zero.

    Raises: NotMeasured: fewer than two blocks with as many windows of both, or a missing domain.
    """
    runs = by_block(record.windows, "energy", record.case.name)
    alone = by_block(record.windows, "energy", record.case.name, kind=WindowKind.PREFILL)
    forks: dict[int, list[float]] = {}
    for key in sorted(runs.keys() & alone.keys()):
        (whole_j, count), (prefill_j, other_count) = runs[key], alone[key]
        if count == other_count:
            forks.setdefault(key[0], []).append(whole_j - prefill_j)
    if not forks:
        raise NotMeasured(f"{record.case.name}: no block holds a run with its prefill")
    return interval(locate(forks), confidence)


def decoded_tokens(record: Record) -> int | None:
    """Return how many tokens a task decodes: all but the first, which prefill produces; None where nobody says."""
    new_tokens = record.case.workload.params.get("new_tokens")
    return new_tokens - 1 if isinstance(new_tokens, int) and new_tokens > 1 else None
