"""`benchmarks/gate_aa.py`: its plan is balanced, a run goes on where it stopped, what is kept can be scored again."""

import json
import math
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest

from harness.gate.model import Block, Policy, Slot, Stage, Verdict
from harness.records import Provenance

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from gate_peers import again, asv, keeping, project, scoring, showing, tools  # noqa: E402
from gate_peers.neighbour import neighbour, phases  # noqa: E402
from gate_peers.plan import DEFAULT, TOOLS, parse_counts, plan  # noqa: E402
from gate_peers.running import last_lines  # noqa: E402

ASKED = {
    "seed": 1,
    "wall_s": 45.0,
    "budget_s": 45.0,
    "counts": {"neighbour": {"A/A": 2, "+5 %": 1}, "quiet": {}},
    "cpu": "a CPU",
    "cores": 2,
    "versions": {"numpy": "2"},
}
ABOUT = {"began_utc": "2026-11-23T20:00:00Z", "call_s": 0.007}


def slot(arm, energy_j, **more):
    return Slot(
        arm=arm, tasks=3, duration_s=0.02, cpu_s=0.02, energy_j=energy_j, provenance=Provenance.MODELLED, **more
    )


def blocks(change, *, forks=range(8), each=20, stage=Stage.MAIN, seed=1, sd=0.02):
    """Blocks as the gate makes them: every live fork in turn, noise of 2 %."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(each):
        for fork in forks:
            order = "ABBA" if rng.random() < 0.5 else "BAAB"
            arms = ("base", "head", "head", "base") if order == "ABBA" else ("head", "base", "base", "head")
            noise = np.exp(rng.normal(0, sd, 4))
            slots = tuple(
                slot(arm, 0.3 * x * (1 + change * (arm == "head"))) for arm, x in zip(arms, noise, strict=True)
            )
            control = (slot("control", 0.5 * math.exp(rng.normal(0, 0.005))),)
            made.append(
                Block(case="encode", stage=stage, fork=fork, index=index, order=order, slots=slots, control=control)
            )
    return made


REGRESSED = [*blocks(0.05), *blocks(0.05, forks=range(8, 16), each=10, stage=Stage.CONFIRM, seed=2)]


def answer(alarm, **said):
    took = {"wall_s": 46.0, "cpu_s": 44.0, "others_share": 0.1, "load_1m_before": 0.5}
    return {"verdict": alarm, "exits": [0], "also": {}, "said": said, "lines": [], **took}


def keep(folder, trial, change, own, measured, **changed):
    """Keep a trial in which pytest-benchmark and pyperf alarm, and asv, whose medians are 7 % apart, by its 1.05."""
    ours = {"verdict": own, "reason": "", "look": 4, "confirmations": int(own == "regressed"), "code_version": "0.1.0"}
    ours["policy"] = msgspec.to_builtins(Policy())
    medians = {"base": {"median": 1.00}, "head": {"median": 1.06}}
    rng = np.random.default_rng(trial)
    samples = {"base": rng.normal(0.0070, 1e-5, 60), "head": rng.normal(0.0075, 1e-5, 60)}
    answers = {
        "pytest-benchmark": answer("alarm", **medians),
        "asv": answer("none") | {"also": {"factor=1.05": "alarm"}},
        "pyperf": answer("alarm") | {"also": {"min-speed=5": "alarm"}},
        "joulebench": answer("alarm" if own == "regressed" else "none", **ours) | changed,
    }
    line = {"trial": trial, "scenario": "neighbour", "change": change, "seed": 1, "order": TOOLS, "answers": answers}
    rows = [*keeping.sample_rows(trial, "asv", samples), *keeping.sample_rows(trial, "pyperf", samples)]
    keeping.append(folder, line, {keeping.BLOCKS: keeping.block_rows(trial, measured), keeping.SAMPLES: rows})


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    keeping.begin(folder, ASKED, ABOUT)
    keep(folder, 1, "A/A", "pass", blocks(0.0)[:80])
    keep(folder, 2, "+5 %", "regressed", REGRESSED)
    return folder


def test_the_plan_holds_what_was_asked_for_and_every_beginning_of_it_is_balanced():
    trials = plan(DEFAULT, 7)
    counts = {(scenario, change): n for scenario, changes in DEFAULT.items() for change, n in changes.items()}
    assert [trial.number for trial in trials] == list(range(1, sum(counts.values()) + 1))
    seen = Counter()
    for number, trial in enumerate(trials, start=1):
        seen[trial.scenario, trial.change] += 1
        for condition, n in counts.items():
            assert abs(seen[condition] - n * number / len(trials)) < 3
    assert seen == counts


def test_a_plan_is_given_by_its_seed_and_every_tool_comes_first_about_as_often():
    assert plan(DEFAULT, 7) == plan(DEFAULT, 7) != plan(DEFAULT, 8)
    first = Counter(trial.tools[0] for trial in plan(DEFAULT, 7))
    assert set(first) == set(TOOLS)
    assert min(first.values()) > len(plan(DEFAULT, 7)) / 8


def test_counts_are_read_and_an_unknown_change_is_named():
    assert parse_counts("+5%=3, A/A=2,-5 %=0", {}) == {"A/A": 2, "+5 %": 3}
    assert parse_counts("", {"A/A": 1}) == {"A/A": 1}
    with pytest.raises(ValueError, match=r"'\+7%=3'.*\+5%"):
        parse_counts("+7%=3", {})


def test_the_head_of_aa_differs_in_a_comment_and_every_other_one_in_the_number_of_units(tmp_path):
    made = project.make(tmp_path)
    work = {change: (tree.folder / "package/work.py").read_text() for change, tree in made.heads.items()}
    base = (made.base.folder / "package/work.py").read_text()
    assert work["A/A"] == base + "# A comment.\n"
    assert [line for line in work["+3 %"].splitlines() if line not in base.splitlines()] == ["UNITS = 206"]
    assert len({made.base.commit, *(tree.commit for tree in made.heads.values())}) == 7


def test_alarms_are_counted_by_tool_and_condition_with_wilson_intervals(run):
    scores = scoring.score(run)
    assert [(each["change"], each["trials"], each["an_alarm_is"]) for each in scores["conditions"]] == [
        ("A/A", 1, "false"),
        ("+5 %", 1, "right"),
    ]
    same, more = (each["tools"] for each in scores["conditions"])
    assert [same[name]["alarms"] for name in same] == [1, 0, 1, 1, 1, 0, 0]
    assert [more[name]["alarms"] for name in more] == [1, 0, 1, 1, 1, 1, 1]
    # Wilson 1927 with z = 1.96: an alarm in one trial
    assert more["joulebench"]["low"] == pytest.approx(1 / (1 + 1.959964**2))
    assert scores["joulebench"][0]["verdicts"] == {"pass": 1}
    text = showing.markdown(scores)
    assert "| neighbour | **+5 %** | 1/1 100 [21, 100] | 0/1 0 [0, 79] |" in text
    assert "2 of 3 planned trials" in text
    json.dumps(scores)


def test_what_is_kept_comes_to_the_same_verdicts_again(run):
    scores = scoring.score(run)
    assert {column: found["unlike"] for column, found in scores["replay"].items()} == {
        name: [] for name in scoring.COLUMNS
    }


def test_a_verdict_that_does_not_follow_from_what_was_kept_is_named(run):
    keep(run, 3, "A/A", "regressed", blocks(0.0)[:80])
    assert scoring.score(run)["replay"]["joulebench"]["unlike"] == [3]


def test_a_tool_that_failed_is_no_trial_of_it(run):
    keep(run, 3, "A/A", "pass", [], verdict="failed", said={})
    found = scoring.score(run)["conditions"][0]["tools"]["joulebench"]
    assert (found["n"], found["failed"]) == (1, 1)


def test_a_run_that_was_cut_off_goes_on_after_its_last_whole_trial(run):
    whole = {name: (run / name).read_bytes() for name in (keeping.TRIALS, *keeping.TABLES)}
    for name in whole:
        with (run / name).open("ab") as file:
            file.write(b'{"trial": 3, "half')
    assert [line["trial"] for line in keeping.trials(run)] == [1, 2]
    kept = keeping.begin(run, ASKED, {"call_s": 1.0})
    assert kept["about"] == ABOUT
    assert {name: (run / name).read_bytes() for name in whole} == whole
    keep(run, 3, "A/A", "pass", blocks(0.0)[:80])
    assert scoring.score(run)["trials"] == 3
    assert scoring.score(run)["replay"]["joulebench"]["unlike"] == []


def test_a_run_without_a_whole_trial_begins_anew(tmp_path):
    keeping.begin(tmp_path, ASKED, ABOUT)
    with (tmp_path / keeping.BLOCKS).open("ab") as file:
        file.write(b"half")
    keeping.begin(tmp_path, ASKED, ABOUT)
    keep(tmp_path, 1, "A/A", "pass", blocks(0.0)[:80])
    assert scoring.score(tmp_path)["replay"]["joulebench"] == {"trials": 1, "unlike": [], "unknown": []}


def test_a_run_does_not_go_on_as_another_one(run):
    with pytest.raises(SystemExit, match=r"wall_s 45\.0 \(now 15\.0\)"):
        keeping.begin(run, ASKED | {"wall_s": 15.0}, ABOUT)


def test_blocks_come_back_with_all_that_decides():
    measured = blocks(0.05)[:3]
    measured[1] = msgspec.structs.replace(measured[1], void="a wrong answer, of /home/me/x.py")
    rows = [
        dict(zip(keeping.TABLES[keeping.BLOCKS], map(str, row), strict=True)) for row in keeping.block_rows(1, measured)
    ]
    for was, row in zip(measured, rows, strict=True):
        found = keeping.block_of(row)
        assert (found.fork, found.index, found.order, found.stage) == (was.fork, was.index, was.order, was.stage)
        assert [each.arm for each in found.slots] == [each.arm for each in was.slots]
        for now, then in zip((*found.slots, *found.control), (*was.slots, *was.control), strict=True):
            assert now.energy_j == pytest.approx(then.energy_j / then.tasks, rel=1e-6)
    assert [keeping.block_of(row).void for row in rows] == [None, "a wrong answer, of PATH", None]


def test_a_trial_that_would_now_have_been_measured_for_longer_is_told_apart(tmp_path):
    keeping.begin(tmp_path, ASKED, ABOUT)
    strict = msgspec.to_builtins(Policy(tolerance=0.006))
    said = {"look": 1, "verdict": "pass", "confirmations": 0, "code_version": "0.1.0", "policy": strict}
    keep(tmp_path, 1, "A/A", "pass", blocks(0.0)[:40], said=said)
    assert scoring.score(tmp_path)["replay"]["joulebench"] == {"trials": 1, "unlike": [1], "unknown": [1]}


def test_a_regression_needs_its_confirmation_also_when_it_is_decided_again():
    assert again.ours(REGRESSED, Policy())[0] is Verdict.REGRESSED
    assert again.ours(blocks(0.05), Policy()) == again.Decided(Verdict.INCONCLUSIVE, 1, unknown=True)
    other = [*blocks(0.05), *blocks(0.0, forks=range(8, 16), each=10, stage=Stage.CONFIRM)]
    assert again.ours(other, Policy())[0] is Verdict.INCONCLUSIVE


def test_overtimes_are_decided_again_with_the_parts_of_their_confirmation():
    noisy = [*blocks(0.02, sd=0.15), *blocks(0.08, forks=range(8, 16))]
    assert again.ours(noisy[:160], Policy()) == again.Decided(Verdict.INCONCLUSIVE, 4, unknown=False, undecided=True)
    half = blocks(0.06, forks=range(16, 24), each=10, stage=Stage.CONFIRM)
    assert again.ours([*noisy, *half], Policy()) == again.Decided(Verdict.INCONCLUSIVE, 5, unknown=True)
    whole = [*half, *blocks(0.06, forks=range(24, 32), each=10, stage=Stage.CONFIRM)]
    assert again.ours([*noisy, *whole], Policy()) == again.Decided(Verdict.REGRESSED, 5, unknown=False)


def test_where_time_ended_the_next_look_was_taken_early():
    assert again.ours(blocks(0.0)[:70], Policy())[1:3] == (2, False)
    assert again.ours([], Policy())[0] is Verdict.INCONCLUSIVE


def test_forks_that_came_in_waves_are_decided_as_they_were():
    waves = [*blocks(0.0, forks=range(4)), *blocks(0.0, forks=range(4, 8), seed=2)]
    assert again.ours(waves, Policy())[:2] == (Verdict.PASS, 4)


def test_the_answers_of_the_peers_are_read():
    assert asv.continuous_verdict("x\nPERFORMANCE DECREASED.\n") == "alarm"
    assert asv.continuous_verdict("BENCHMARKS NOT SIGNIFICANTLY CHANGED.") == "none"
    assert asv.continuous_verdict("Traceback") is None
    assert (
        asv.compare_verdict("All benchmarks:\n\n| Change |\n| +  | 6.7±0.1ms | 7.2ms | 1.07 | speed.time_encode |")
        == "alarm"
    )
    assert tools.pyperf_verdict("Mean +- std dev: [base] 6.71 ms -> [head] 7.43 ms: 1.11x slower") == "alarm"
    assert tools.pyperf_verdict("Mean +- std dev: [base] 6.71 ms -> [head] 6.43 ms: 1.04x faster") == "improved"
    assert tools.pyperf_verdict("Benchmark hidden because not significant (1): encode") == "none"


def test_last_lines_hold_no_path_of_this_machine():
    said = "a\n\x1b[31mresults: /home/me/out/1\x1b[0m\n----- ---\nfile:///tmp/a/b.html of 3/4 J/task\n"
    assert last_lines(said) == ["a", "results: PATH", "PATH of 3/4 J/task"]


def test_the_neighbour_keeps_to_its_seed_and_ends_with_the_block(tmp_path):
    with neighbour(5, tmp_path / "log") as seen:
        deadline_s = time.monotonic() + 10
        while not seen.phases_s and time.monotonic() < deadline_s:
            time.sleep(0.1)
            if (tmp_path / "log").exists() and (tmp_path / "log").read_text():
                break
    planned = phases(5)
    assert seen.phases_s
    assert seen.phases_s == [pytest.approx(next(planned), abs=0.01) for _ in seen.phases_s]


def test_a_kept_run_is_scored_again_by_the_script(run):
    command = [sys.executable, str(BENCHMARKS / "gate_aa.py"), "--score", str(run)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "## Alarms" in done.stdout
    assert (run / "scores.md").read_text() == done.stdout.removesuffix("\n")
    assert str(run.parent) not in done.stdout + (run / "scores.json").read_text()
