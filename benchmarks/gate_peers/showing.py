"""The scores as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from .plan import TOOLS
from .scoring import COLUMNS, Scores

AGAIN = "joulebench, decided again"

RULES = """\
An alarm is

- **pytest-benchmark**: exit code 1 of `--benchmark-compare-fail=median:5%`; base is saved by one process, head run by
  another
- **asv**: exit code 1 of `asv continuous --interleave-rounds`: medians beyond the factor, and Mann-Whitney p < 0.002;
  1.1 is its default, 1.05 is `asv compare` on the same results
- **pyperf**: `compare_to` says "slower", which it does where a t-test has p < 5 %; with `--min-speed 5` from 5 % on
- **joulebench**: exit code 10 of `joulebench gate` with its default policy: found, and found again in fresh processes;
  "decided again" is what the present code says of the blocks that were kept
"""
ALARMS = """\
Alarms of trials with a verdict, and their share in percent with its 95 % Wilson interval. `A/A` are two work trees of
two commits that differ in a comment; the other changes are exact extra work. Bold: where an alarm is right.
"""
HEAD = """\
{began}: {cpu}, {cores} CPUs; {versions}; joulebench {code}.

{done} of {planned} planned trials, seed {seed}: conditions in random order, in each trial all tools in random order.
A call of base takes about {call_ms:.1f} ms. Each peer measures {wall_s:g} s a trial, and what starting its processes
takes comes on top. joulebench has {budget_s:g} s as its whole `--budget`, in which a suspected regression is measured
again; it may stop earlier. The neighbour is one process that keeps a core busy in phases of 0.2 to 3 s, on and off at
random. `quiet` is without it, whatever else the host did.
"""


def markdown(scores: Scores) -> str:
    """Return tables of alarms, of joulebench's verdicts and of times, with what a reader must know of them."""
    parts = {
        "# Four gates on the same changes": f"{_head(scores)}\n{RULES}",
        "## Alarms": f"{ALARMS}\n{_alarms(scores)}",
        "## What joulebench said": _verdicts(scores),
        "## Wall time": _times(scores),
        "## Scored again": _agreement(scores),
    }
    return "\n".join(f"{title}\n\n{text}" for title, text in parts.items())


def _head(scores: Scores) -> str:
    asked, about = scores["run"]["asked"], scores["run"]["about"]
    return HEAD.format(
        began=about["began_utc"],
        cpu=asked["cpu"],
        cores=asked["cores"],
        versions=", ".join(f"{name} {version}" for name, version in asked["versions"].items()),
        code=", ".join(scores["code_versions"]),
        done=scores["trials"],
        planned=sum(sum(changes.values()) for changes in asked["counts"].values()),
        seed=asked["seed"],
        call_ms=1e3 * about["call_s"],
        wall_s=asked["wall_s"],
        budget_s=asked["budget_s"],
    )


def _alarms(scores: Scores) -> str:
    names = [*COLUMNS, AGAIN]
    rows = []
    for each in scores["conditions"]:
        cells = [_share(each["tools"][name]) for name in names]
        change = f"**{each['change']}**" if each["an_alarm_is"] == "right" else each["change"]
        rows.append([each["scenario"], change, *cells])
    return _table(["scenario", "change", *names], rows)


def _share(found: Scores) -> str:
    failed = f", {found['failed']} failed" if found["failed"] else ""
    improved = f", {found['improved']} improved" if found["improved"] else ""
    if not found["n"]:
        return f"–{failed}"
    limits = f"{100 * found['share']:.0f} [{100 * found['low']:.0f}, {100 * found['high']:.0f}]"
    return f"{found['alarms']}/{found['n']} {limits}{improved}{failed}"


def _verdicts(scores: Scores) -> str:
    kinds = sorted({kind for each in scores["joulebench"] for kind in each["verdicts"]})
    rows = []
    for each in scores["joulebench"]:
        counts = [str(each["verdicts"].get(kind, 0)) for kind in kinds]
        why = ", ".join(f"{words} {count}" for words, count in each["why_inconclusive"].items()) or "–"
        times = [f"{each['median_s']:.0f}", f"{each['longest_s']:.0f}"]
        rows.append([each["scenario"], each["change"], *counts, why, *times])
    return _table(["scenario", "change", *kinds, "why inconclusive", "median s a case", "longest s"], rows)


def _times(scores: Scores) -> str:
    rows = []
    for each in scores["wall"]:
        for tool in TOOLS:
            found = each["tools"][tool]
            share = found["median_others_share"]
            others = "–" if share is None else f"{share:.0%}"
            figures = [f"{found[key]:.1f}" for key in ("median_s", "longest_s", "median_cpu_s")]
            rows.append([each["scenario"], tool, *figures, others])
    head = ["scenario", "tool", "median wall s", "longest wall s", "median CPU s", "host's CPU used by others, median"]
    return _table(head, rows)


def _agreement(scores: Scores) -> str:
    lines = []
    for column, found in scores["replay"].items():
        same = found["trials"] - len(found["unlike"])
        line = f"- {column}: {same} of {found['trials']} verdicts follow from what was kept"
        if found["unlike"]:
            line += f"; not in trials {_numbers(found['unlike'])}"
        if found.get("unknown"):
            line += f"; the present code would have measured more in trials {_numbers(found['unknown'])}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _numbers(trials: Sequence[int]) -> str:
    return ", ".join(map(str, trials))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
