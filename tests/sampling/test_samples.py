"""Real samples of real models for a second or two, with meters that were made for tests."""

import json
from statistics import median

import msgspec
import pytest

from harness import host, sampling, store
from harness.errors import ModelError, UsageError
from harness.meters.fake import FakeMeter
from harness.meters.window import MeterWindow
from harness.records import Missing, Provenance
from harness.sampling import About, Options, Part, PhasePlan, ask, find, take
from harness.sampling.result import Taken
from harness.workloads.architectures.steps import Steps

torch = pytest.importorskip("torch")


class Interrupting(FakeMeter):
    """Presses Ctrl-C, or raises something else, at the end of a window."""

    def __init__(self, after, by=KeyboardInterrupt):
        super().__init__(2.0)
        self.left, self.by = after, by

    def energies(self, begin, end, **more):
        self.left -= 1
        if self.left == 0:
            raise self.by
        return super().energies(begin, end, **more)


@pytest.fixture
def sample(recipes, tmp_path):
    """Return a function that samples a recipe in this process."""

    def run(name, meter=None, *, steps=None, told=None, vm=None, **options):
        chosen = Options(**{"for_s": 4.0, **options})
        about = About(
            host={**msgspec.to_builtins(host.probe()), "vm": vm},
            host_fingerprint="f" * 64,
            hardware="here",
            code_version="test",
        )
        return sampling.run(
            ask(find(name, recipes), steps=steps),
            chosen,
            about,
            MeterWindow([meter or FakeMeter(2.0)]),
            shortest_s=0.0,
            root=tmp_path,
            tell=told or (lambda *_: None),
        )

    return run


@pytest.mark.parametrize("name", ["bert@test", "gpt2@test", "elmo@test", "translate@test"])
def test_every_family_is_sampled_and_kept(sample, name):
    found, folder = sample(name, steps=700)
    run = found.full_run
    assert 0 < run.energy_j.low <= run.energy_j.value <= run.energy_j.high
    assert run.provenance is Provenance.FAKE
    assert run.target_energy_j == run.energy_j
    assert run.overhead.high == pytest.approx(0.08)
    assert sum(each.steps for each in run.phases) == pytest.approx(700)
    assert found.parameters > 100_000
    assert not found.interrupted
    kept = json.loads((folder / "sample.json").read_text())
    assert kept["schema"] == 1
    assert kept["recipe"]["name"] == name
    assert kept["full_run"]["energy_j"]["value"] == run.energy_j.value
    windows = store.read_lines(folder / "windows.jsonl", Taken)
    assert len(windows) == sum(each.cycles * len(each.parts) for each in found.phases)
    assert folder.parent.name == "f" * 8
    assert folder.name.startswith(f"sample-{name.replace('@', '-')}-2")


def test_the_full_run_is_what_its_windows_say(sample):
    found, _ = sample("bert@test")
    expected_j = found.full_run.fixed.energy_j
    for each in found.phases:
        means = sampling.means_of(each.energy)
        step = sum(part.weight * part.mean_j for part in each.parts)
        assert means.mean == pytest.approx(step)
        expected_j += each.plan.phase.steps.number * step * (1 + found.full_run.overhead.value)
        assert each.cycles >= 16
    assert found.full_run.energy_j.value == pytest.approx(expected_j)
    assert [each.plan.phase.steps.number for each in found.phases] == [900, 100]


def test_pairs_and_whole_steps_of_one_recipe_cost_about_the_same(recipes, phase):
    """The one is put together from halves, the other is the thing itself; loose, because machines are shared."""
    steps = Steps(ask(find("bert@test", recipes)).spec)
    asked = phase(sequences=4.0, tokens=32)
    step = Part(name="step", times=2, weight=1.0)
    runs, update = (
        Part(name="forward and backward", times=4, weight=4.0),
        Part(name="update", times=2, weight=1.0),
    )
    plans = {
        parts: PhasePlan(
            phase=asked,
            micro_batch=1,
            accumulations=4.0,
            whole=len(parts) == 1,
            parts=parts,
            cycle_s=0.1,
            for_s=1.0,
        )
        for parts in ((step,), (runs, update))
    }
    joules = {parts: [] for parts in plans}
    meters = MeterWindow([FakeMeter(2.0)])
    for _ in range(4):
        for parts, plan in plans.items():
            cycles = []
            take(steps, plan, meters, "cpu", into=cycles, enough=lambda done: done == 6)
            joules[parts] += [
                sum(
                    part.weight * each.energies[0].energy_j / part.times
                    for part, each in zip(parts, cycle, strict=True)
                )
                for cycle in cycles
            ]
    whole, pairs = (median(each) for each in joules.values())
    assert 0.7 < pairs / whole < 1.4


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((("forward and backward", 3), ("update", 2)), "mmmuu mfmmuu mmfmuu mmmuu fmmmuu"),
        ((("forward and backward", 1), ("update", 1)), "mu mu mu mu fmu mu mu mu fmu"),
        ((("step", 2),), "mmmmufmmmmuf mmmmufmmmmuf"),
    ],
)
def test_gradients_are_let_go_after_as_many_micro_batches_as_a_published_step_has(phase, parts, expected):
    done = []

    class Spy:
        def batch(self, sequences, length):
            return {}

        def forward_backward(self, batch, share):
            assert share == 0.25
            done.append("m")

        def update(self, times=1):
            done.append("u" * times)

        def forget(self):
            done.append("f")

        def loss(self):
            return 1.0

    made = tuple(Part(name=name, times=times, weight=1.0) for name, times in parts)
    plan = PhasePlan(
        phase=phase(sequences=4.0, tokens=32),
        micro_batch=1,
        accumulations=4.0,
        whole=len(made) == 1,
        parts=made,
        cycle_s=0.1,
        for_s=1.0,
    )
    cycles = []

    def enough(count):
        done.append(" " if count else "")
        return count == len(expected.split())

    take(Spy(), plan, MeterWindow([FakeMeter(2.0)]), "cpu", into=cycles, enough=enough)
    assert "".join(done).strip() == f"f{expected}"


def test_notes_say_how_it_was_run(sample):
    found, _ = sample("translate@test", micro_batch=1)
    said = " ".join((*found.full_run.notes, *found.notes))
    assert "4 micro-batches of 1 sequences of 25 tokens" in said
    assert "sequences of 25 tokens, chosen" in said
    assert "drawn at random" in said
    assert "label smoothing is 0.1" in said


@pytest.mark.parametrize(("vm", "said"), [(True, True), (None, True), (False, False)])
def test_a_machine_that_may_be_shared_is_said_to_be(sample, vm, said):
    found, _ = sample("elmo@test", vm=vm)
    assert any("neighbours come and go" in note for note in found.notes) is said


def test_progress_is_told_with_the_seconds_of_all(sample):
    told = []
    sample("gpt2@test", steps=10, told=lambda *each: told.append(each))
    assert [text for text, *_ in told[:2]] == ["building the model", "trying micro-batches"]
    assert all(total == pytest.approx(4.0) for *_, total in told)
    assert told[-1][1] <= 4.0
    assert 5 < len(told) < 30


def test_ctrl_c_keeps_what_was_measured(sample):
    # Building, resting, then 61 windows: enough of the first phase, nothing of the second.
    found, folder = sample("bert@test", Interrupting(63), for_s=40.0)
    assert found.interrupted
    assert [each.cycles for each in found.phases] == [60, 0]
    assert isinstance(found.full_run.energy_j, Missing)
    assert "phase 32 was not measured" in found.full_run.energy_j.reason
    assert found.full_run.phases[0].energy_j.value > 0
    assert json.loads((folder / "sample.json").read_text())["interrupted"] == "by the user"
    taken = store.read_lines(folder / "windows.jsonl", Taken)
    assert len(taken) == 60
    assert all(each.times >= 1 for each in taken), "the windows alone say what they hold"


def test_what_ends_a_sample_early_keeps_what_was_measured_and_says_why(sample):
    found, folder = sample(
        "gpt2@test", Interrupting(40, ModelError("cuda ran out of memory in a micro-batch")), steps=10, for_s=30.0
    )
    assert "ran out of memory" in found.interrupted
    assert found.full_run.energy_j.value > 0
    assert (folder / "sample.json").exists()


def test_ctrl_c_late_in_one_phase_still_gives_the_full_run(sample):
    found, _ = sample("gpt2@test", Interrupting(40), steps=10, for_s=30.0)
    assert found.interrupted
    assert found.full_run.energy_j.value > 0


def test_ctrl_c_before_anything_was_measured_leaves_nothing(sample, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        sample("bert@test", Interrupting(1))
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_does_not_fit_is_refused_before_it_is_built(sample, monkeypatch):
    monkeypatch.setattr("harness.counters.memory.free_bytes", lambda *_: 1_000_000)
    monkeypatch.setattr("harness.sampling.running.Steps", None)
    with pytest.raises(ModelError, match=r"bert@tiny: training with 1 x 16 tokens needs about .* 0\.0 GB are free"):
        sample("bert@test")


def test_the_micro_batch_is_what_fits_the_memory(sample, monkeypatch):
    from harness.workloads.architectures import counting, presets

    found = presets.preset("bert", "tiny")
    room = counting.memory_bytes(found, phase="train", batch=2, length=32).needed_bytes
    monkeypatch.setattr("harness.counters.memory.free_bytes", lambda *_: room + 1)
    done, _ = sample("bert@test", for_s=8.0)
    assert [each.plan.micro_batch for each in done.phases][1] == 2


def test_too_little_time_is_refused_and_leaves_nothing(sample, tmp_path):
    with pytest.raises(UsageError, match=r"are too short: .* give --for"):
        sample("bert@test", for_s=0.05)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 2.0, "ratio_source": "a guess"}, "name the other with --target"),
        ({"ratio": 2.0, "ratio_source": "a guess", "target": "here"}, "name the other with --target"),
        ({"ratio": -2.0, "ratio_source": "a guess", "target": "there"}, "must be positive, with a source"),
        ({"ratio": 2.0, "target": "there"}, "must be positive, with a source"),
        ({"ratio_source": "a guess", "target": "there"}, "give the ratio with --ratio"),
        ({"confidence": 95.0}, "between 0 and 1"),
    ],
)
def test_a_claim_that_stands_on_nothing_is_refused_before_measuring(sample, options, message):
    with pytest.raises(UsageError, match=message):
        sample("bert@test", **options)


def test_other_hardware_is_claimed_by_a_ratio_or_not_at_all(sample):
    without, _ = sample("gpt2@test", steps=10, target="there")
    assert isinstance(without.full_run.target_energy_j, Missing)
    ratio, _ = sample("elmo@test", target="there", ratio=0.5, ratio_source="a paper")
    assert ratio.full_run.target_energy_j.value == pytest.approx(0.5 * ratio.full_run.energy_j.value)
    assert ratio.full_run.hardware.value == "other-hardware"
