"""What the printed sample says its joules are of."""

import re

import msgspec
import pytest

from harness import host, sampling
from harness.cli.sampled import lines
from harness.errors import UsageError
from harness.meters.fake import FakeMeter
from harness.meters.window import MeterWindow
from harness.records import Energy, Missing, Provenance
from harness.sampling import About, Options, Part, PhasePlan, Series, ask, extrapolate, find, running
from harness.sampling.extrapolating import domains_of

pytest.importorskip("torch")


class Drawing(FakeMeter):
    """A meter of one domain that draws as it is told, known as it is told."""

    def __init__(self, domain, power_w, provenance, boundary, *, over):
        super().__init__(power_w, over=over)
        self.name, self.billed = f"of {domain}", frozenset({domain})
        self.as_told = {"domain": domain, "provenance": provenance, "boundary": boundary}

    def energies(self, begin, end, **more):
        (energy,), missing = super().energies(begin, end, **more)
        return (msgspec.structs.replace(energy, **self.as_told),), missing

    def info(self):
        return msgspec.structs.replace(super().info(), name=self.name, domains=tuple(self.billed))


def gpu_and_model():
    """A GPU at 97 W beside a modelled CPU at about 3 W, on a host whose package cannot be read."""
    gpu = Drawing("gpu0", 97.0, Provenance.COUNTER, "the whole board of a GPU", over="wall")
    cpu = Drawing("cpu-process", 3.0, Provenance.MODELLED, "the CPU time of this process", over="cpu")
    gaps = (
        Missing(domain="cpu-package", reason="no zones in this test"),
        Missing(domain="psys", reason="nor this", billed=False),
    )
    return MeterWindow([gpu, cpu], gaps)


@pytest.fixture(scope="module")
def taken(recipes, tmp_path_factory):
    """Return a sample with that meter, which needs windows of 200 ms, and its folder."""
    about = About(
        host=msgspec.to_builtins(host.probe()), host_fingerprint="f" * 64, hardware="here", code_version="test"
    )
    return sampling.run(
        ask(find("gpt2@test", recipes), steps=10),
        Options(for_s=8.0, micro_batch=4),
        about,
        gpu_and_model(),
        shortest_s=0.2,
        root=tmp_path_factory.mktemp("results"),
        tell=lambda *_: None,
    )


def words(found):
    return " ".join(" ".join(lines(found)).split())


def test_joules_known_in_two_ways_are_said_by_their_parts_with_domains_and_boundaries(taken):
    said = words(taken[0])
    assert re.search(r"energy \S+ kWh \(.*\), mixed: 9\d % counter, \d % modelled", said)
    assert re.search(r"9\d\.\d % gpu0, counter: the whole board of a GPU", said)
    assert re.search(r"\d\.\d % cpu-process, modelled: the CPU time of this process", said)
    assert "not measured: cpu-package: no zones in this test" in said
    assert "psys" not in said
    assert "without PUE" in said


def test_the_power_at_rest_is_of_what_is_counted_whatever_else_is_modelled(taken, measured):
    assert taken[0].idle_w == pytest.approx(97.0, rel=0.01)
    assert "gpu0 drew 97.0 W" in words(taken[0])
    modelled, counted = measured(1.0, provenance=Provenance.MODELLED), measured(1.0)
    lost = msgspec.structs.replace(counted, missing=(Missing(domain="gpu0", reason="gone"),))
    assert running._idle_w((counted, counted)) == pytest.approx(10.0)
    assert running._idle_w((modelled, modelled)) is None
    assert running._idle_w((counted, lost)) is None
    assert running._idle_w(()) is None


def test_windows_of_rest_are_as_long_as_the_meter_needs(taken):
    assert [each.duration_s for each in taken[0].idle] == [pytest.approx(0.22, abs=0.02)] * 2


def test_what_the_recipe_notes_is_said_among_the_differences(taken):
    noted = msgspec.structs.replace(taken[0], recipe=find("gpt2@small-nanogpt"))
    said = words(noted).partition("what differs from the published work:")[2]
    for difference in ("without dropout", "50,304", "clips the gradients", "torch.compile"):
        assert difference in said


def test_a_folder_of_a_sample_can_be_copied_by_tools_that_take_no_at_sign(taken):
    found, folder = taken
    assert folder.name == found.sample_id
    assert folder.name.startswith("sample-gpt2-test-2")


def test_a_gpu_that_nothing_counts_ends_the_command_before_a_model_is_built(recipes, tmp_path, monkeypatch):
    from harness.cli import sampling as command
    from harness.meters import opening

    why = Missing(domain="gpu", reason="pynvml is not installed")
    monkeypatch.setattr(opening, "open_nvml", lambda **_: (None, (why,)))
    monkeypatch.setattr(command.device, "prepare", lambda *_, **__: None)
    monkeypatch.setattr(command.sampling, "hardware", lambda *_: "a GPU of this test")
    monkeypatch.setattr(running, "Steps", None)
    wishes = command.Wishes(
        duration="5m",
        micro_batch=None,
        length=None,
        steps=None,
        recipes=recipes,
        device="cuda",
        threads=1,
        meters=(),
        confidence=0.95,
        target=None,
        ratio=None,
        ratio_source="",
        results=tmp_path,
        as_json=False,
    )
    with pytest.raises(UsageError, match=r"no meter counts the joules of cuda .*pynvml is not installed"):
        command._run(ask(find("bert@test", recipes)), command._options(wishes), wishes, host.probe())
    assert list(tmp_path.iterdir()) == []


def test_domains_are_what_a_step_draws_times_the_steps_of_each_phase(measured, phase, aim):
    def cycle(gpu_j, cpu_j):
        window = measured(gpu_j)
        cpu = Energy(
            domain="cpu-process",
            energy_j=cpu_j,
            low_j=0.5 * cpu_j,
            provenance=Provenance.MODELLED,
            boundary="a test",
            meter="test",
        )
        unbilled = msgspec.structs.replace(cpu, domain="gpu1", billed=False)
        both = (*window.energies, cpu, unbilled)
        return (msgspec.structs.replace(window, energies=both),)

    series = [
        Series(
            plan=PhasePlan(
                phase=phase(name, steps=steps),
                micro_batch=8,
                accumulations=1.0,
                whole=True,
                parts=(Part(name="step", times=2, weight=1.0),),
                cycle_s=0.1,
                for_s=10.0,
            ),
            cycles=tuple(cycle(*each) for each in ((2.0, 0.2), (2.2, 0.22)) for _ in range(20)),
        )
        for name, steps in (("a", 90.0), ("b", 10.0))
    ]
    _, phases = extrapolate(series, None, aim)
    found = {each.domain: each for each in domains_of(phases)}
    assert set(found) == {"cpu-package", "cpu-process"}
    assert found["cpu-package"].energy_j == pytest.approx(100 * 1.05, rel=0.06)
    assert found["cpu-process"].energy_j == pytest.approx(found["cpu-package"].energy_j / 10)
    assert found["cpu-process"].low_j == pytest.approx(found["cpu-process"].energy_j / 2)
    assert found["cpu-process"].high_j == found["cpu-process"].energy_j


def test_a_phase_without_joules_leaves_no_domains(measured, phase, aim):
    plan = PhasePlan(
        phase=phase(),
        micro_batch=8,
        accumulations=1.0,
        whole=True,
        parts=(Part(name="step", times=1, weight=1.0),),
        cycle_s=0.1,
        for_s=10.0,
    )
    gone = measured(1.0, missing=(Missing(domain="gpu0", reason="gone"),))
    _, phases = extrapolate([Series(plan=plan, cycles=((gone,),) * 20)], None, aim)
    assert domains_of(phases) == ()
