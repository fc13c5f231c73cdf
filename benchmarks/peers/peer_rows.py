"""What is measured: for every row of the table, which probe answers it in each tool, and the target of ours.

In a probe's settings a `root` of `{TREE}` becomes a fresh powercap tree at rest, `{FOLDER}` a fresh folder on the
same file system.
"""

from collections.abc import Callable
from typing import NamedTuple

APART_S = 0.011
"""Just over a jiffy, after which the kernel's count of the host's CPU time must be read anew."""


class Call(NamedTuple):
    """One probe with its settings; calls that are equal are measured once. `neighbour` burns a core beside it."""

    tool: str
    probe: str
    settings: tuple[tuple[str, object], ...] = ()
    neighbour: bool = False


class Row(NamedTuple):
    """One line of the table.

    `figure` names what of a probe's answer is shown (`value`: its list of `values` where it has one).
    `met` is given the medians by tool (None where there is none) and says whether ours meets the target,
    or None where that cannot be said.
    """

    title: str
    unit: str
    calls: dict[str, Call]
    target: str = "–"
    met: Callable[[dict[str, float | None]], bool | None] = lambda _: None
    figure: str = "value"


class Section(NamedTuple):
    """Rows measured together: every round runs each different call once, in turn, or all at once."""

    letter: str
    title: str
    rows: list[Row]
    rounds: int
    at_once: bool = False


def sections(*, quick: bool, sleep_s: float) -> list[Section]:
    """Return what is measured, with the number of rounds; `quick` takes fewer and shorter ones."""
    few = 1 if quick else 3
    return [
        Section("a", "begin and end of an empty window, one after the other", _pairs(quick), 2 if quick else 5),
        Section("b", "import in a fresh interpreter, over the bare interpreter", _imports(), 5 if quick else 15),
        Section(
            "c", f"background, {sleep_s:g} s asleep in a window", _background(sleep_s), 1 if quick else 2, at_once=True
        ),
        Section("d", "first window, from the end of the import", _first(), 3 if quick else 10),
        Section("e", "CPU-seconds of children captured", _shares(), few),
        Section("f", "4 s asleep beside a busy neighbour", _idle(), few),
        Section("g", "4 CPU-s in two processes against one", _shape(), few),
        Section("h", "windows in which the counter wraps", _wraps(quick), 1 if quick else 2),
        Section("i", "a sample that the kernel takes, out of the reach of any process's clock", _interrupts(quick), 1),
    ]


def below(limit: float) -> Callable[[dict[str, float | None]], bool | None]:
    """Return whether ours is at most `limit`."""
    return lambda medians: None if medians["ours"] is None else medians["ours"] <= limit


def at_least(limit: float) -> Callable[[dict[str, float | None]], bool | None]:
    """Return whether ours is at least `limit`."""
    return lambda medians: None if medians["ours"] is None else medians["ours"] >= limit


def _call(tool: str, probe: str, *, neighbour: bool = False, **settings: object) -> Call:
    frozen = ((key, tuple(value) if isinstance(value, list) else value) for key, value in settings.items())
    return Call(tool, probe, tuple(frozen), neighbour)


def _pairs(quick: bool) -> list[Row]:
    many, some, slow = (1000, 50, 50) if quick else (3000, 300, 150)
    tree = {"root": "{TREE}"}
    zeus = _call("zeus", "pair", windows=many, **tree)
    machine = _call("codecarbon", "pair", windows=slow, mode="machine")
    process = _call("codecarbon", "pair", windows=slow, mode="process")

    def ours(what: str, windows: int, apart_s: float = 0.0, **settings: object) -> Call:
        return _call("ours", "pair", what=what, windows=windows, apart_s=apart_s, **settings)

    return [
        Row(
            "clocks, children, two RAPL domains",
            "µs",
            {"ours": ours("counters", many, **tree), "zeus": zeus, "codecarbon": machine},
            "≤ 25",
            below(25),
        ),
        Row("the same and the host's load", "µs", {"ours": ours("edges", many, **tree)}, "≤ 25", below(25)),
        Row(
            "the public call (`measure`; `begin_window`; `start_task`, process mode)",
            "µs",
            {"ours": ours("public", many, **tree), "zeus": zeus, "codecarbon": process},
            "≤ 25",
            below(25),
        ),
        Row(
            f"the public call, {1e3 * APART_S:.0f} ms of work between begin and end",
            "µs",
            {
                "ours": ours("public", some, APART_S, **tree),
                "zeus": _call("zeus", "pair", windows=some, apart_s=APART_S, **tree),
                "codecarbon": _call("codecarbon", "pair", windows=slow, mode="machine", apart_s=APART_S),
            },
        ),
        Row(
            "the same, and the window's joules as records (ours alone works them out when asked)",
            "µs",
            {"ours": ours("records", some, APART_S, root="{FOLDER}/tree")},
        ),
        Row(
            "the public call on this host as it is",
            "µs",
            {"ours": ours("public", many), "zeus": _call("zeus", "pair", windows=many), "codecarbon": machine},
        ),
    ]


def _imports() -> list[Row]:
    calls = {tool: _call(tool, "import") for tool in ("ours", "zeus", "codecarbon")}
    return [
        Row("CPU time", "s", calls, "≤ 0.03", below(0.03), "cpu_s"),
        Row("wall time", "s", calls, figure="wall_s"),
        Row("msgspec, numpy or torch loaded", "", {"ours": _call("ours", "loaded")}, "0", below(0)),
    ]


def _background(sleep_s: float) -> list[Row]:
    def ours(**settings: object) -> Call:
        return _call("ours", "sleep", seconds=sleep_s, **settings)

    def trace(what: str, **settings: object) -> Call:
        # Long enough that one chunk is written meanwhile.
        return _call("ours", "sleep", seconds=max(60.0, sleep_s), what=what, folder="{FOLDER}", **settings)

    bare = ours(what="bare")
    counter = {
        "ours": ours(what="window", root="{TREE}"),
        "zeus": _call("zeus", "sleep", seconds=sleep_s, root="{TREE}"),
        "codecarbon": _call("codecarbon", "sleep", seconds=sleep_s),
    }
    return [
        Row("a sleep and nothing else", "% of a core", {"ours": bare}),
        Row("two RAPL domains (codecarbon: default)", "% of a core", counter, "0: ≤ 0.002", below(0.002)),
        Row("the same: times that a thread of the process woke", "", counter, figure="wakes"),
        Row("the same: helper processes", "", counter, "0", below(0), "helpers"),
        Row(
            "this host as it is",
            "% of a core",
            {"ours": ours(what="window"), "zeus": _call("zeus", "sleep", seconds=sleep_s)},
            "0: ≤ 0.002",
            below(0.002),
        ),
        Row("a thread that wakes at 10 Hz and does nothing", "% of a core", {"ours": ours(what="ticks")}),
        Row(
            "readings at 10 Hz (ours: a trace by a thread, a minute's rows written)",
            "% of a core",
            {
                "ours": trace("trace", root="{TREE}"),
                "codecarbon": _call("codecarbon", "sleep", seconds=sleep_s, every_s=0.1),
            },
            "≤ 0.05",
            below(0.05),
        ),
        Row(
            "a trace at 10 Hz, samples by the kernel (perf events; a software PMU stands in for RAPL), likewise",
            "% of a core",
            {"ours": trace("kernel")},
            "≤ 0.05",
            below(0.05),
        ),
        Row(
            "the same: times that a thread of the process woke",
            "",
            {"ours": trace("kernel")},
            figure="wakes",
        ),
        Row("the same: rows that the kernel gave, of 600 a minute", "", {"ours": trace("kernel")}, figure="rows"),
    ]


def _interrupts(quick: bool) -> list[Row]:
    call = {"ours": _call("ours", "interrupts", pairs=200 if quick else 600, folder="{FOLDER}")}
    return [
        Row("two software counters: what a loop on the same CPU loses to a sample", "µs", call),
        Row("the same ten times a second", "% of a core", call, "≤ 0.05", below(0.05), "percent_at_10_hz"),
    ]


def _first() -> list[Row]:
    tree = {tool: _call(tool, "first", root="{TREE}") for tool in ("ours", "zeus")}
    tree["codecarbon"] = _call("codecarbon", "first")
    host = {tool: _call(tool, "first") for tool in ("ours", "zeus")}
    return [
        Row("two RAPL domains (codecarbon: default)", "ms", tree, "≤ 2", below(2)),
        Row("the same: helper processes", "", tree, "0", below(0), "helpers"),
        Row("this host as it is", "ms", host, "≤ 2", below(2)),
    ]


def _shares() -> list[Row]:
    sizes = {"8 × 0.4 s": [0.4] * 8, "1 × 4 s": [4.0], "64 × 0.05 s": [0.05] * 64}
    return [
        Row(
            f"{name} (codecarbon: process mode)",
            "%",
            {tool: _call(tool, "share", sizes_cpu_s=each) for tool in ("ours", "codecarbon")},
            "≥ 99",
            at_least(99),
        )
        for name, each in sizes.items()
    ]


def _idle() -> list[Row]:
    def met(medians: dict[str, float | None]) -> bool | None:
        ours_j, theirs_j = medians["ours"], medians["codecarbon"]
        return None if ours_j is None or not theirs_j else ours_j <= 0.01 * theirs_j

    calls = {tool: _call(tool, "idle", seconds=4.0, neighbour=True) for tool in ("ours", "zeus", "codecarbon")}
    return [Row("billed for the CPU (codecarbon: machine mode)", "J", calls, "≤ 1 % of codecarbon", met)]


def _shape() -> list[Row]:
    calls = {tool: _call(tool, "shape", cpu_s=4.0) for tool in ("ours", "zeus", "codecarbon")}
    return [Row("greater joules over smaller (codecarbon: machine mode)", "×", calls, "≤ 1.10", below(1.10))]


def _wraps(quick: bool) -> list[Row]:
    after_s = [0.001, 0.02, 0.09, 0.5] if quick else [0.001, 0.003, 0.01, 0.02, 0.03, 0.05, 0.07, 0.09, 0.2, 1.5]
    calls = {tool: _call(tool, "wraps", folder="{FOLDER}", after_s=after_s) for tool in ("ours", "zeus")}
    return [
        Row("joules less the truth", "J", calls),
        Row("wrong windows (over 1 % off)", f"of {len(after_s)}", calls, "0", below(0), "wrong"),
        Row("refused windows", f"of {len(after_s)}", calls, figure="refused"),
    ]
