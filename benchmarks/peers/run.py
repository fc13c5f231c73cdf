"""joulebench beside zeus and codecarbon: what a window costs, what runs in the background, what is billed.

    python benchmarks/peers/run.py [--quick] [--out FILE] [--venvs FOLDER] [--only abc] [--sleep SECONDS]

Makes one virtual environment per tool, calls the probes beside this file in them, tools in turn, and prints
a table in Markdown. Every figure is measured in this run; a probe that fails is shown with its error.
"""

import argparse
import datetime as dt
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

import peer_running
import peer_table
import peer_venvs
from peer_rows import Section, sections


def main() -> None:
    arguments = _arguments()
    sleep_s = arguments.sleep or (10.0 if arguments.quick else 30.0)
    chosen = [one for one in sections(quick=arguments.quick, sleep_s=sleep_s) if one.letter in arguments.only]
    pythons = peer_venvs.make(arguments.venvs)
    with tempfile.TemporaryDirectory(dir=_memory_folder(), prefix="joulebench-peers-") as folder:
        bench = peer_running.Bench(pythons, Path(folder), peer_running.isolation())
        peer_running.warm_up(bench)
        about = _about(bench)
        answers = {}
        for section in chosen:
            answers |= peer_running.measure(section, bench, _tell)
    rows = peer_table.document(chosen, answers)
    text = peer_table.markdown(rows, _notes(about, quick=arguments.quick, chosen=chosen))
    print(text)
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
        arguments.out.with_suffix(".md").write_text(text)


def _arguments() -> argparse.Namespace:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds and shorter sleeps: under five minutes")
    parser.add_argument("--out", type=Path, help="write the run here as JSON, and its table beside it as .md")
    parser.add_argument(
        "--venvs", type=Path, default=cache / "joulebench" / "peers", help="where environments are kept"
    )
    parser.add_argument("--only", default="abcdefghi", help="letters of the sections to measure")
    parser.add_argument("--sleep", type=float, help="seconds asleep in section c (30, or 10 with --quick)")
    return parser.parse_args()


def _memory_folder() -> str | None:
    """Return a folder in memory, or None for the ordinary temporary one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _about(bench: peer_running.Bench) -> dict:
    """Return the host, the versions and how the probes were kept apart."""
    names = {"ours": ("joulebench", *peer_venvs.OURS_NEEDS)} | {
        tool: (name,) for tool, (name, _) in peer_venvs.PEERS.items()
    }
    return {
        "measured_utc": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "powercap": Path("/sys/class/powercap/intel-rapl:0").exists(),
        "load_1m_before": os.getloadavg()[0],
        "isolation": " ".join(bench.isolation) or "none: network namespaces are not permitted here",
        "trees_on": _file_system(bench.folder),
        "versions": {tool: peer_venvs.versions(bench.pythons[tool], names[tool]) for tool in names},
    }


def _notes(about: dict, *, quick: bool, chosen: list[Section]) -> list[str]:
    versions = [
        f"{name} {version}"
        for tool in peer_table.TOOLS
        for name, version in about["versions"][tool].items()
        if name in {"joulebench", "zeus", "codecarbon"}
    ]
    rapl = "with RAPL" if about["powercap"] else "without RAPL"
    python = f"Python {about['versions']['ours']['python']}"
    host = [about["cpu"], f"{about['cores']} CPUs", about["system"], rapl, python, *versions]
    rounds = ", ".join(f"{one.letter} × {one.rounds}" for one in chosen)
    figures = (
        "Figures are p05 / p50 / p95 over all values (n); a target is met or not by the median. The others' load "
        "is the share of the host that processes of no probe used, the greatest of the tools' medians "
        "(coarse where a probe takes less than a second: the kernel counts in steps of 10 ms)."
    )
    return [
        f"{about['measured_utc']}: {', '.join(host)}; load {about['load_1m_before']:.2f} before.",
        f"{'Quick' if quick else 'Full'} run, rounds: {rounds}; tools in turn.",
        f"Network: {about['isolation']}. Fake powercap trees on {about['trees_on']}.",
        figures,
    ]


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown CPU"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")


def _file_system(folder: Path) -> str:
    """Return the kind of file system that holds a folder."""
    best = ("", "unknown")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind = line.split()[:3]
        if folder.is_relative_to(point) and len(point) > len(best[0]):
            best = (point, kind)
    return best[1]


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
