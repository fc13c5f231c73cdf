"""Deciding: each verdict on its own grounds, and nothing decided where the grounds are missing."""

import importlib.util
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from harness import stats
from harness.errors import IncomparableRecords, InvalidMeasurement, NotMeasured
from harness.gate.concluding import verdicts
from harness.gate.deciding import confirm, look
from harness.gate.evidence import gather
from harness.gate.findings import Kind, Terms
from harness.gate.guarding import quality
from harness.gate.keys import Limits, fork_level, fork_p, holm_rows, judge, summarise
from harness.gate.model import Block, Policy, Quality, Slot, Stage, Verdict
from harness.records import Doubt, Provenance

POLICY = Policy()
REPLACE = msgspec.structs.replace

_path = Path(__file__).parents[2] / "benchmarks" / "gate_null.py"
_spec = importlib.util.spec_from_file_location("gate_null_simulation", _path)
gate_null = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(gate_null)


def slot(arm, energy_j, *, tasks=10, **more):
    more = {"provenance": Provenance.MODELLED, "duration_s": 0.02, "cpu_s": 0.02} | more
    return Slot(arm=arm, tasks=tasks, energy_j=energy_j, **more)


def block(case, fork, index, difference, *, stage=Stage.MAIN, control=1.0, void=None):
    """A block whose log ratio is `difference`, while its own level is anything."""
    base_j = 2.0 * math.exp(math.sin(7.0 * index + fork))
    slots = tuple(
        slot(arm, base_j * math.exp(difference * (arm == "head"))) for arm in ("base", "head", "head", "base")
    )
    steady = (slot("control", 1.0 * control, tasks=5),)
    return Block(case=case, stage=stage, fork=fork, index=index, order="ABBA", slots=slots, control=steady, void=void)


def blocks(case="encode", change=0.0, *, forks=8, each=20, sd=0.02, luck=0.0, seed=1, drift=0.0, stage=Stage.MAIN):
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, sd, (forks, each)) + rng.normal(0, luck, (forks, 1)) + math.log1p(change)
    control = np.exp(rng.normal(0, 0.005, (forks, each)) + drift * (np.arange(each) >= each / 2))
    return [
        block(case, f, i, noise[f, i], stage=stage, control=control[f, i]) for f in range(forks) for i in range(each)
    ]


def looked(suite, *, index=4, names=None, policy=POLICY, taken=None, terms=None):
    """What a planned look says of a suite, or one after other looks."""
    taken = taken or stats.planned(index, policy.looks)
    return look(suite, policy, taken, list(suite) if names is None else names, terms=terms)


def finding(measured, *, policy=POLICY, index=4, terms=None):
    return looked({"encode": measured}, index=index, policy=policy, terms=terms and {"encode": terms})["encode"]


def concluded(measured, *, recurrences=(), **more):
    found = more.pop("found", None) or finding(measured, terms=more.get("terms", {}).get("encode"))
    (result,) = verdicts({"encode": found}, {"encode": measured}, POLICY, recurrences={"encode": recurrences}, **more)
    return result


def test_the_difference_of_a_block_is_head_over_base_a_task_whatever_the_level():
    assert gather([block("a", 0, 0, 0.07), block("a", 0, 1, -0.02)], Stage.MAIN).differences == (
        pytest.approx((0.07, -0.02)),
    )


def test_a_costlier_head_is_suspected_and_a_cheaper_one_improved():
    costlier, cheaper = finding(blocks(change=0.05)), finding(blocks(change=-0.05))
    assert costlier.kind is Kind.SUSPECTED
    assert costlier.estimate.low <= 0.05 <= costlier.estimate.high
    assert costlier.estimate.p_adjusted < 0.01
    assert (costlier.estimate.same_sign, costlier.estimate.forks, costlier.estimate.blocks) == (8, 8, 160)
    assert cheaper.kind is Kind.IMPROVED
    assert cheaper.estimate.change < -0.02


def test_equal_arms_pass_and_say_what_they_would_have_found():
    found = finding(blocks())
    assert found.kind is Kind.PASS
    assert found.estimate.high < POLICY.tolerance
    assert found.estimate.confidence == 0.98
    assert POLICY.min_effect < found.estimate.detectable < 0.04


def test_a_significant_cost_below_the_effect_that_counts_is_no_regression():
    found = finding(blocks(change=0.01, sd=0.005))
    assert found.estimate.p_adjusted < 1e-6
    assert found.kind is Kind.PASS


def test_noise_that_hides_everything_is_undecided_and_says_how_many_more_blocks_it_takes():
    found = finding(blocks(sd=0.25, seed=3))
    assert found.kind is Kind.GO_ON
    assert found.more_blocks > 160
    assert found.more_blocks % 160 == 0
    assert finding(blocks(sd=0.35, seed=3)).more_blocks > found.more_blocks
    assert finding(blocks()).more_blocks is None


def test_blocks_that_only_agree_within_forks_do_not_convict():
    luck = np.array([0.12, 0.02, 0.1, -0.09, 0.13, 0.11, -0.01, 0.1])
    measured = [block("encode", f, i, luck[f] + 0.002 * math.sin(i)) for f in range(8) for i in range(20)]
    found = finding(measured)
    assert found.estimate.p_adjusted < 0.01
    assert found.kind is Kind.GO_ON
    assert "forks differ" in found.reason
    assert found.estimate.low < 0 < found.estimate.high


@pytest.mark.parametrize(("forks", "each", "why"), [(5, 40, "5 forks are too few"), (6, 3, "18 blocks are too few")])
def test_too_little_never_passes_nor_fails(forks, each, why):
    for change in (0.0, 0.5):
        found = finding(blocks(change=change, forks=forks, each=each, sd=0.001))
        assert found.kind is Kind.GO_ON
        assert why in found.reason
        assert found.estimate.high < 1
        assert found.estimate.detectable is None


@pytest.mark.parametrize("measured", [[], blocks(forks=1, each=1), blocks(forks=1)])
def test_hardly_anything_is_undecided_without_an_estimate(measured):
    found = finding(measured)
    assert (found.kind, found.estimate) == (Kind.GO_ON, None)
    assert concluded(measured, found=found).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"energy_j": math.nan}, "reads nan J"),
        ({"energy_j": math.inf}, "reads inf J"),
        ({"energy_j": 0.0}, "reads 0.0 J"),
        ({"energy_j": -1.0}, "reads -1.0 J"),
        ({"energy_j": None, "gap": "the counter went back"}, "the counter went back"),
        ({"tasks": 0}, "did no task"),
    ],
)
def test_a_reading_that_cannot_be_is_invalid_and_never_a_number(broken, why):
    measured = blocks()
    slots = measured[33].slots
    measured[33] = REPLACE(measured[33], slots=(slots[0], REPLACE(slots[1], **broken), *slots[2:]))
    result = concluded(measured)
    assert result.verdict is Verdict.INVALID
    assert "block 13 of fork 1" in result.reason
    assert why in result.reason
    assert result.estimate is None


def test_a_block_without_one_of_the_arms_is_invalid():
    measured = blocks()
    measured[0] = REPLACE(measured[0], slots=measured[0].slots[:1])
    assert "no slot of head" in finding(measured).reason


def test_joules_that_are_known_in_unlike_ways_are_not_compared():
    measured = blocks()
    slots = measured[33].slots
    measured[33] = REPLACE(measured[33], slots=(*slots[:3], REPLACE(slots[3], provenance=Provenance.COUNTER)))
    result = concluded(measured)
    assert result.verdict is Verdict.INVALID
    assert "modelled (base in block 0 of fork 0) and counter (base in block 13 of fork 1)" in result.reason
    measured[33] = REPLACE(measured[33], void="the meter changed")
    assert concluded(measured).verdict is Verdict.PASS


def test_a_few_void_blocks_are_left_out_and_many_invalidate():
    measured = blocks()
    few = [REPLACE(each, void="lost") if each.index == 0 else each for each in measured]
    assert finding(few).kind is Kind.PASS
    assert finding(few).estimate.blocks == 152
    many = [REPLACE(each, void="outputs differ") if each.fork == 2 and each.index < 6 else each for each in measured]
    found = finding(many)
    assert found.kind is Kind.INVALID
    assert "6 of 20 blocks of fork 2 do not count (outputs differ)" in found.reason


def test_a_void_block_may_hold_any_reading():
    measured = blocks()
    broken = (REPLACE(measured[0].slots[0], energy_j=math.nan), *measured[0].slots[1:])
    measured[0] = REPLACE(measured[0], void="wrong output", slots=broken)
    assert finding(measured).kind is Kind.PASS


def halved(early, late, drift):
    """Blocks whose change is another one in the later half of each fork, beside a control that drifts."""
    first, second = (blocks(change=change, drift=drift) for change in (early, late))
    return [a if a.index < 10 else b for a, b in zip(first, second, strict=True)]


@pytest.mark.parametrize(("early", "late"), [(0.06, 0.0), (0.0, 0.07), (0.0, -0.07), (-0.06, 0.0)])
@pytest.mark.parametrize("drift", [0.08, -0.08])
def test_what_changes_with_the_machine_and_is_no_larger_is_not_decided(early, late, drift):
    found = finding(halved(early, late, drift))
    assert found.kind is Kind.CONTAMINATED
    assert found.control_change == pytest.approx(math.expm1(drift), abs=0.005)
    assert "the machine was not steady" in found.reason
    assert found.more_blocks is None
    assert concluded(blocks(), found=found).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("drift", [0.08, -0.08])
def test_what_holds_before_and_after_the_machine_changed_is_decided(drift):
    assert finding(blocks(drift=drift)).kind is Kind.PASS
    assert finding(blocks(change=0.06, drift=drift)).kind is Kind.SUSPECTED
    assert finding(blocks(change=-0.06, drift=drift)).kind is Kind.IMPROVED


@pytest.mark.parametrize("drift", [0.08, -0.08])
def test_what_is_larger_than_the_change_of_the_machine_is_decided_all_the_same(drift):
    assert finding(halved(0.3, 0.005, drift)).kind is Kind.SUSPECTED
    assert finding(halved(-0.3, 0.0, drift)).kind is Kind.IMPROVED


def test_what_is_not_decided_for_its_width_says_too_that_the_machine_was_not_steady():
    rng = np.random.default_rng(3)
    noisy = [
        REPLACE(each, slots=tuple(REPLACE(s, energy_j=s.energy_j * math.exp(rng.normal(0, 0.5))) for s in each.slots))
        for each in blocks(drift=0.08)
    ]
    found = finding(noisy)
    assert found.kind is Kind.GO_ON
    assert "is excluded; the machine was not steady, its control changed by +8" in found.reason
    assert "the machine was not steady" not in finding(halved(0.06, 0.0, 0.03)).reason


def test_a_steady_control_lets_a_change_in_mid_fork_be_decided():
    assert finding(halved(0.06, 0.0, 0.03)).kind is Kind.SUSPECTED


def test_a_control_that_stands_still_is_reported():
    assert finding(blocks()).control_change == pytest.approx(0, abs=0.005)


def test_a_control_that_is_merely_noisy_does_not_forbid_a_decision():
    rng = np.random.default_rng(0)
    steady = [REPLACE(each, control=(slot("control", math.exp(rng.normal(0, 0.15))),)) for each in blocks()]
    assert finding(steady).kind is Kind.PASS


def test_cases_that_are_not_looked_at_keep_their_place_in_the_family_and_show_nothing():
    suite = {f"case{n}": [REPLACE(b, case=f"case{n}") for b in blocks(sd=0.1, seed=n)] for n in range(24)}
    suite["bad"] = [REPLACE(b, case="bad") for b in blocks(change=0.04, sd=0.08)]
    suite["worst"] = [REPLACE(b, case="worst") for b in blocks(change=0.2, sd=0.06)]
    among = looked(suite)
    assert list(among) == list(suite)
    assert {each.family for each in among.values()} == {26}
    alone = looked(suite, names=["bad"])
    assert list(alone) == ["bad"]
    assert alone["bad"].family == 26
    assert alone["bad"].estimate.p_adjusted == pytest.approx(26 / 25 * among["bad"].estimate.p_adjusted)
    assert alone["bad"].estimate.p_adjusted <= 0.01


def test_p_values_are_adjusted_for_the_whole_suite_and_its_looks():
    alone = finding(blocks(change=0.03, sd=0.1)).estimate
    suite = {"encode": blocks(change=0.03, sd=0.1)}
    suite |= {f"case{n}": blocks(f"case{n}", seed=n, sd=0.1) for n in range(2, 25)}
    among = looked(suite)["encode"].estimate
    assert among.p_value == alone.p_value
    assert among.p_adjusted == pytest.approx(24 * alone.p_adjusted, rel=0.01)
    assert alone.p_adjusted >= alone.p_value


def test_advisory_cases_do_not_make_it_harder_for_the_others():
    suite = {f"case{n}": blocks(f"case{n}", seed=n, sd=0.1) for n in range(4)}
    terms = {f"case{n}": Terms(policy=POLICY, advisory=n > 0) for n in range(4)}
    found = looked(suite, terms=terms)
    assert [each.family for each in found.values()] == [1, 3, 3, 3]


def test_an_accepted_cost_is_no_regression_and_more_than_it_is_one():
    held = Terms(policy=POLICY, accepted="up to +4%: checks its input", up_to=0.04)
    within = concluded(blocks(change=0.035), terms={"encode": held})
    assert (within.verdict, within.accepted) == (Verdict.PASS, held.accepted)
    beyond = finding(blocks(change=0.09), terms=held)
    assert beyond.kind is Kind.SUSPECTED
    assert "beyond the accepted" in beyond.reason
    again = confirm(beyond, blocks(change=0.09, seed=9, stage=Stage.CONFIRM), POLICY, terms=held)
    result = concluded(blocks(change=0.09), recurrences=(again,), terms={"encode": held})
    assert (result.verdict, result.accepted) == (Verdict.REGRESSED, None)


def test_a_case_may_have_its_own_effects():
    coarse = Terms(policy=REPLACE(POLICY, min_effect=0.08, tolerance=0.1))
    assert finding(blocks(change=0.05), terms=coarse).kind is Kind.PASS


def test_a_regression_counts_once_fresh_forks_show_it_again():
    measured = blocks(change=0.05)
    found = finding(measured)
    again = confirm(found, blocks(change=0.05, each=10, seed=5, stage=Stage.CONFIRM), POLICY)
    gone = confirm(found, blocks(change=0.0, each=10, seed=5, stage=Stage.CONFIRM), POLICY)
    assert again.again
    assert again.estimate.change == pytest.approx(0.05, abs=0.01)
    result = concluded(measured, recurrences=(again,))
    assert (result.verdict, result.confirmed, result.confirmations) == (Verdict.REGRESSED, 1, 1)
    lost = concluded(measured, recurrences=(gone,))
    assert (lost.verdict, lost.confirmed) == (Verdict.INCONCLUSIVE, 0)
    assert "does not repeat it" in lost.reason
    waiting = concluded(measured)
    assert waiting.verdict is Verdict.INCONCLUSIVE
    assert "0 of 1 confirmations" in waiting.reason


def test_blocks_of_the_main_stage_confirm_nothing():
    found = finding(blocks(change=0.05))
    assert not confirm(found, blocks(change=0.05), POLICY).again


def test_a_confirmation_that_is_broken_invalidates_and_one_on_a_changed_machine_does_not_confirm():
    measured = blocks(change=0.05)
    found = finding(measured)
    fresh = blocks(change=0.05, each=10, stage=Stage.CONFIRM)
    slots = (REPLACE(fresh[0].slots[0], energy_j=math.nan), *fresh[0].slots[1:])
    broken = confirm(found, [REPLACE(fresh[0], slots=slots), *fresh[1:]], POLICY)
    assert concluded(measured, recurrences=(broken,)).verdict is Verdict.INVALID
    fresh = [REPLACE(each, stage=Stage.CONFIRM) for each in halved(0.07, 0.0, 0.1)]
    drifting = confirm(found, fresh, POLICY)
    assert not drifting.again
    assert confirm(found, blocks(change=0.05, drift=0.1, stage=Stage.CONFIRM), POLICY).again
    assert concluded(measured, recurrences=(drifting,)).verdict is Verdict.INCONCLUSIVE


def test_without_confirmations_the_fork_key_is_as_strict_as_both_stages_were():
    once = REPLACE(POLICY, confirmations=0)
    assert fork_level(once, 100) == pytest.approx(fork_level(POLICY, 100) ** 2)
    assert finding(blocks(change=0.05), policy=once).kind is Kind.SUSPECTED


def test_a_result_carries_what_it_stands_on():
    measured = blocks(sd=0.25, seed=3)
    doubtful = REPLACE(measured[0].slots[0], doubts=(Doubt.MODELLED,))
    measured[0] = REPLACE(measured[0], slots=(doubtful, *measured[0].slots[1:]))
    result = concluded(measured)
    assert (result.look, result.looks, result.blocks_allowed) == (4, 4, 160)
    assert result.base_s == result.head_s == 0.002
    assert 0.1 < result.base_j < 0.4
    assert result.provenance is Provenance.MODELLED
    assert result.doubts == (Doubt.MODELLED,)
    assert result.more_blocks == finding(measured).more_blocks


def test_worse_quality_counts_before_a_saving_and_after_what_is_invalid():
    worse = Quality(metric="accuracy", n=99, base=0.9, head=0.8, difference=-0.1, low=-0.2, high=-0.05, worse=True)
    cheaper = blocks(change=-0.2)
    assert concluded(cheaper, qualities={"encode": worse}).verdict is Verdict.WORSE_QUALITY
    cheaper[0] = REPLACE(cheaper[0], slots=cheaper[0].slots[:1])
    assert concluded(cheaper, qualities={"encode": worse}).verdict is Verdict.INVALID


def test_what_the_plan_left_open_is_decided_in_overtime_by_stricter_levels():
    luck = np.tile([0.026, -0.026], 8)
    fresh = [block("encode", f, i, luck[f] + 0.002 * math.sin(i)) for f in range(16) for i in range(20)]
    first, after = finding(fresh[:160]), finding(fresh, index=5)
    assert (first.kind, first.more_blocks) == (Kind.GO_ON, 320)
    assert (after.kind, after.look, after.estimate.forks) == (Kind.PASS, 5, 16)
    assert finding(fresh[:160], index=5).estimate.high > first.estimate.high
    result = concluded(fresh, found=after)
    assert (result.verdict, result.look, result.looks, result.blocks_allowed) == (Verdict.PASS, 5, 5, 320)


def test_blocks_that_were_lost_make_no_further_overtime():
    luck = np.tile([0.026, -0.026], 8)
    lossy = [block("encode", f, i, luck[f] + 0.002 * math.sin(i)) for f in range(8) for i in range(20)][1:]
    assert finding(lossy).more_blocks == 320


def test_a_case_that_was_cut_off_goes_on_from_there_by_levels_of_what_it_saw():
    luck = np.tile([0.026, -0.026], 8)
    cut = [block("encode", f, i, luck[f] + 0.002 * math.sin(i)) for i in range(9) for f in range(8)]
    early = (*stats.planned(1, 4), stats.Taken(2, 72 / 160))
    found = looked({"encode": cut}, taken=early)["encode"]
    assert (found.kind, found.look, 0 < found.more_blocks <= 160) == (Kind.GO_ON, 2, True)
    fresh = [block("encode", f, i, luck[f] + 0.002 * math.sin(i)) for i in range(20) for f in range(8, 16)]
    after = looked({"encode": cut + fresh}, taken=(*early, stats.Taken(5, 232 / 160)))["encode"]
    assert after.estimate.high < finding(cut + fresh, index=5).estimate.high
    assert (after.kind, after.look) == (Kind.PASS, 5)


def test_what_would_take_too_many_overtimes_is_not_foretold():
    assert finding(blocks(sd=5.0, seed=3)).more_blocks is None


def test_every_estimate_can_be_written_as_json():
    for forks, each, sd in ((2, 1, 1.0), (2, 10, 3.0), (8, 5, 3.0), (8, 20, 0.0)):
        for index in (1, 4):
            found = finding(blocks(forks=forks, each=each, sd=sd), index=index)
            assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


def test_many_suites_at_once_get_what_each_gets_alone():
    rng = np.random.default_rng(4)
    for trial in range(30):
        suites = [
            {
                f"c{n}": blocks(
                    f"c{n}", rng.choice([0.0, 0.03, 0.06, -0.06]), sd=rng.choice([0.02, 0.1]), seed=trial + n
                )
                for n in range(4)
            }
            for _ in range(2)
        ]
        cube = np.array([[np.array(gather(each, Stage.MAIN).differences) for each in s.values()] for s in suites])
        limits = Limits(*(np.full(4, each) for each in (0.0, math.log1p(0.02), math.log1p(-0.02), math.log1p(0.03))))
        index = trial % 4 + 1
        together = judge(cube, limits, POLICY, stats.planned(index, 4), np.ones((2, 4), dtype=bool))
        for run, suite in enumerate(suites):
            alone = list(looked(suite, index=index).values())
            assert [each.kind is Kind.SUSPECTED for each in alone] == together.suspected[run].tolist()
            assert [each.kind is Kind.IMPROVED for each in alone] == together.improved[run].tolist()
            assert [each.kind is Kind.PASS for each in alone] == together.passed[run].tolist()
            assert [each.estimate.p_adjusted for each in alone] == together.adjusted_more[run].tolist()
            for each in alone:
                if each.kind is Kind.SUSPECTED:
                    assert each.estimate.low > 0
                elif each.kind is Kind.PASS:
                    assert each.estimate.high < POLICY.tolerance
                elif each.kind is Kind.GO_ON and each.estimate.change < 0.02:
                    assert each.estimate.high >= POLICY.tolerance


def test_holm_over_many_suites_is_holm_of_each():
    p = np.random.default_rng(0).random((50, 7)) ** 3
    assert holm_rows(p) == pytest.approx(np.array([stats.holm(list(row)) for row in p]))


def test_the_fork_key_is_student_s_t_over_trimmed_means():
    from scipy import stats as scipy_stats

    values = np.random.default_rng(0).normal(0.5, 1, size=(1, 7, 20))
    means = scipy_stats.trim_mean(values[0], 0.2, axis=1)
    expected = scipy_stats.ttest_1samp(means, 0.1, alternative="greater").pvalue
    assert fork_p(summarise(values), 0.1, above=True)[0] == pytest.approx(expected)
    holed = np.concatenate([values, np.full((1, 7, 3), np.nan)], axis=2)
    holed = np.concatenate([holed, np.full((1, 2, 23), np.nan)], axis=1)
    assert fork_p(summarise(holed), 0.1, above=True)[0] == pytest.approx(expected)


@pytest.mark.parametrize("scenario", [s for s in gate_null.NULLS if s.fork_ratio in {0.0, 1.0}], ids=lambda s: s.name)
def test_simulated_suites_of_unchanged_code_hardly_ever_alarm(scenario):
    figures = gate_null.run(scenario, POLICY, 250, 1, 0.06)
    assert figures["false_alarm"]["count"] <= 5  # 1 % of 250 is 2.5: more than 5 has a chance of 4 %
    assert figures["unchanged_passed"]["share"] > (0.95 if scenario.fork_ratio == 0 else 0.03)


def test_simulated_regressions_are_found():
    (scenario,) = (s for s in gate_null.EFFECTS if (s.noise, s.fork_ratio, s.effect) == ("t3", 0.0, 0.05))
    figures = gate_null.run(scenario, POLICY, 100, 1, 0.06)
    assert figures["detected"]["share"] > 0.9
    assert figures["passed"]["count"] == 0


def test_answers_that_became_worse_are_shown_to_be():
    base = [1.0] * 180 + [0.0] * 20
    found = quality(base, [0.0] * 30 + base[30:], 0.0)
    assert found.worse
    assert found.difference == pytest.approx(-0.15)
    assert found.low < found.difference < found.high < 0
    assert not quality(base, [0.0] * 30 + base[30:], 0.2).worse


def test_the_same_answers_are_not_worse_and_few_items_prove_little():
    base = [1.0, 0.0] * 100
    assert not quality(base, base, 0.0).worse
    assert not quality([1.0] * 4, [0.0, 1.0, 1.0, 1.0], 0.0).worse


def test_scores_that_are_no_yes_or_no_are_compared_item_by_item():
    rng = np.random.default_rng(0)
    base = rng.random(300)
    found = quality(list(base), list(base - 0.02 + rng.normal(0, 0.05, 300)), 0.0, metric="bleu", cases=24)
    assert found.worse
    assert found.low < -0.02 < found.high
    same = quality([0.5, 0.25, 0.75], [0.5, 0.25, 0.75], 0.0, metric="bleu")
    assert (same.low, same.high, same.worse) == (0.0, 0.0, False)


def test_quality_is_hardly_ever_called_worse_where_nothing_changed():
    rng = np.random.default_rng(1)
    called = sum(quality(list(rng.random(40)), list(rng.random(40)), 0.0, metric="f1").worse for _ in range(150))
    assert called <= 5


@pytest.mark.parametrize(
    ("base", "head", "error"),
    [([], [], NotMeasured), ([1.0], [1.0, 0.0], IncomparableRecords), ([1.0], [math.nan], InvalidMeasurement)],
)
def test_scores_that_cannot_be_compared_are_refused(base, head, error):
    with pytest.raises(error):
        quality(base, head, 0.0)
