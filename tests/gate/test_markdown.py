"""The summary of a pull request: worst first, passes folded, what to do, how to repeat it."""

import re

import pytest

from harness.gate.markdown import LONGEST, MARKER, headline, render_markdown
from harness.gate.model import Verdict


def rows(text):
    return [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| verdict")]


def test_the_comment_can_be_found_again_by_its_first_line(make):
    assert render_markdown(make.everything()).splitlines()[0] == MARKER == "<!-- joulebench-gate -->"


def test_the_worst_comes_first_and_passes_are_folded(make):
    text = render_markdown(make.everything())
    open_part, _, folded = text.partition("<details>")
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows(open_part)] == [
        "INVALID", "VANISHED", "WORSE-QUALITY", "FAIL", "INCONCLUSIVE", "NEW",
    ]  # fmt: skip
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows(folded)] == ["IMPROVED", "PASS"]
    assert "<summary>2 cases passed, 1 of them cost less</summary>" in text


def test_of_two_regressions_the_costlier_is_first(make):
    from msgspec.structs import replace

    small, large = (make.case(Verdict.REGRESSED, name, estimate=replace(make.COSTLIER, change=change))
                    for name, change in (("small", 0.03), ("large", 0.3)))  # fmt: skip
    shown = rows(render_markdown(make.result(small, large)))
    assert ["large" in shown[0], "small" in shown[1]] == [True, True]


def test_the_headline_is_the_verdict(make):
    assert headline(make.result(make.case())) == "✅ Energy gate passes: 1 case, none costs 3 % more"
    assert headline(make.result(make.case(), make.case(Verdict.NEW))) == (
        "⚠️ Energy gate passes, 1 of 2 cases to look at"
    )
    assert headline(make.result(make.case(Verdict.REGRESSED), make.case())) == (
        "❌ Energy gate: 1 regressed of 2 cases (exit 10)"
    )


def test_each_kind_of_trouble_says_what_to_do_next_once(make):
    text = render_markdown(make.result(make.case(Verdict.REGRESSED, "a"), make.case(Verdict.REGRESSED, "b")))
    assert text.count("accept it by a reviewed `accept` entry") == 1
    assert "joulebench explain 20261123T140000Z-gate#1" in text


def test_a_clean_gate_has_nothing_to_do(make):
    assert "What to do next" not in render_markdown(make.result(make.case()))


def test_what_is_inconclusive_says_how_long_it_would_take(make):
    text = render_markdown(make.result(make.case(Verdict.INCONCLUSIVE)))
    assert "About 1m35s more of measuring would settle 1 case." in text


def test_the_promise_on_quality_is_told_where_there_are_scores(make):
    assert "at most 1 % by design" in render_markdown(make.result(make.case()))
    scored = render_markdown(make.result(make.case(quality=make.WORSE)))
    assert "at most 1 % for cost and as much again for quality by design" in scored


def test_what_was_let_pass_is_told(make):
    warned = make.case(Verdict.REGRESSED, "a", advisory=True)
    accepted = make.case(Verdict.REGRESSED, "b", accepted="up to +0.05 until 2027-01-01: wanted")
    text = render_markdown(make.result(warned, accepted))
    assert "advisory, so it does not fail the gate" in text
    assert "accepted by up to +0.05 until 2027-01-01: wanted" in text


def test_modelled_joules_are_told_in_the_table_and_below(make):
    text = render_markdown(make.result(make.modelled()))
    assert "412 mJ → 429 mJ (modelled)" in text
    assert "changes are changes of CPU time" in text


def test_counted_joules_are_not_called_modelled(make):
    assert "modelled" not in render_markdown(make.result(make.case()))


@pytest.mark.parametrize("strict", [False, True])
def test_the_command_that_repeats_it_stands_there_with_its_seed(make, strict):
    asked = ("ci/gate.yaml", "--budget", "5m", "-k", "encode or decode")
    text = render_markdown(make.result(make.case(), strict=strict, asked=asked))
    command = "joulebench gate ci/gate.yaml --budget 5m -k 'encode or decode'"
    command += f" --base {'b' * 40} --seed 4711" + (" --strict" if strict else "")
    assert f"git checkout {'c' * 40}\n{command}\n" in text


def test_uncommitted_changes_are_told(make):
    from msgspec.structs import replace

    result = make.everything()
    text = render_markdown(replace(result, head=replace(result.head, dirty=True)))
    assert "with uncommitted changes" in text
    assert "Head had uncommitted changes, which no commit holds." in text


def test_the_false_alarms_counted_here_are_told_or_that_there_is_no_count(make):
    assert "so far 0 in 412 comparisons of identical code" in render_markdown(make.everything())
    none = make.result(make.case(), calibration=None)
    assert "not yet counted on this class of runner, `joulebench calibrate` does" in render_markdown(none)


def test_a_name_or_a_reason_cannot_become_markup_or_a_mention(make):
    case = make.case(Verdict.INVALID, name="a|b*c_d`e<img>", reason="see @everyone | [x](http://y)\nsecond")
    (row,) = rows(render_markdown(make.result(case)))
    assert re.sub(r"\\.", "", row).count("|") == 6
    assert "@everyone" not in row
    assert "\\<img>" in row
    assert "\\[x](http" in row


def test_the_comment_always_fits_and_counts_what_it_left_out(make):
    cases = [make.case(Verdict.REGRESSED, f"bad/{n:04}") for n in range(100)]
    cases += [make.case(name=f"good/{n:04}") for n in range(2000)]
    text = render_markdown(make.result(*cases))
    assert len(text) <= LONGEST
    assert len([row for row in rows(text) if "bad/" in row]) == 100
    shown = len([row for row in rows(text) if "good/" in row])
    assert f"{2000 - shown} cases more did not fit here; they are in `gate.json`." in text


def test_a_gate_without_a_case_says_why(make):
    text = render_markdown(make.result(missing=("results/ab/base.json does not exist",)))
    assert "no case could be judged" in text
    assert "12 baseline: results/ab/base.json does not exist" in text


def test_a_stored_base_makes_no_promise_that_only_interleaving_keeps(make):
    text = render_markdown(make.result(make.case(Verdict.REGRESSED), stored=True))
    assert "measured at another time" in text
    assert "interleaved on one machine" not in text
    assert "at most 1 %" not in text
    assert "joulebench gate --baseline RESULTS" in text


def test_the_notes_of_the_gate_are_told(make):
    text = render_markdown(make.result(make.case(), notes=("the entry that accepts encode expired on 2026-01-01",)))
    assert "- the entry that accepts encode expired on 2026-01-01" in text
