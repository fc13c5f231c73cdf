"""What a GPU says of itself, and a recording that is worth what the live meter was."""

import json

import pytest

from harness.meters.nvml import replayed, slowed
from harness.meters.nvml.state import REASONS, SLOWDOWNS
from harness.records import DeviceState

TOLD = {"celsius": 61, "sm_mhz": 1980, "memory_mhz": 2619, "limit_mw": 700_000, "reasons": 0x4 | 0x40 | 0x800}


@pytest.mark.parametrize("old_driver", [False, True])
def test_temperature_clocks_limit_and_reasons_are_told_by_new_drivers_and_by_old(gpus, old_driver):
    gpu = gpus.nvml.Gpu("GPU-a")
    gpu.state, gpu.old_driver = TOLD, old_driver
    meter = gpus.open(gpu, also_power=True)
    (state,) = meter.states("begin")
    assert state == DeviceState(
        domain="gpu0",
        edge="begin",
        temperature_c=61.0,
        core_clock_hz=1.98e9,
        memory_clock_hz=2.619e9,
        power_limit_w=700.0,
        throttled=("sw-power-cap", "hw-thermal", "reason-0x800"),
    )


def test_what_a_gpu_does_not_say_is_none_and_no_reason_is_not_the_same_as_not_said(gpus):
    quiet, free = gpus.nvml.Gpu("GPU-a"), gpus.nvml.Gpu("GPU-b")
    free.state = {"reasons": 0}
    meter = gpus.open(quiet, free)
    states = meter.states("end")
    assert states[0] == DeviceState(domain="gpu0", edge="end")
    assert states[0].throttled is None
    assert states[1].throttled == ()


def test_a_lost_gpu_says_nothing_and_does_not_raise(gpus):
    gpu = gpus.nvml.Gpu("GPU-a")
    gpu.state = TOLD
    meter = gpus.open(gpu)
    gpu.silent = "GPU is lost"
    assert meter.states("end")[0].temperature_c is None


@pytest.mark.parametrize("reason", sorted(REASONS.values()))
def test_heat_and_the_power_brake_slow_a_gpu_and_its_configuration_does_not(reason):
    states = [
        DeviceState(domain="gpu0", edge="begin"),
        DeviceState(domain="gpu0", edge="end", throttled=("idle", reason)),
    ]
    assert slowed(states) == (reason in {"hw-slowdown", "sw-thermal", "hw-thermal", "hw-power-brake"})
    assert not slowed(())


def test_the_reasons_are_those_of_pynvml():
    import pynvml

    named = {
        getattr(pynvml, name)
        for name in dir(pynvml)
        if name.startswith("nvmlClocksEventReason") and not name.endswith(("All", "None"))
    }
    assert named == REASONS.keys()
    assert set(REASONS.values()) >= SLOWDOWNS


def recorded(gpus):
    """Return the meter's description, the raw readings of four samples and what their windows were worth."""
    faulty = gpus.nvml.Gpu("GPU-c")
    faulty.error = "Not Supported"
    old = gpus.nvml.Gpu("GPU-b", power_w=77.0)
    old.error = "Not Supported"
    meter = gpus.open(gpus.nvml.Gpu("GPU-a", power_w=200.0), old, faulty, also_power=True)
    marks = [meter.read()]
    for broken in (False, True, False):
        faulty.power_error = "Timeout" if broken else None
        gpus.run(1.0)
        marks.append(meter.read())
    text = json.dumps({"description": meter.describe(), "samples": [meter.raw(mark) for mark in marks]})
    outcomes = [meter.energies(*marks[at : at + 2], duration_s=1.0, cpu_s=0.0) for at in range(3)]
    return meter, json.loads(text), outcomes


def test_a_replay_is_worth_the_same_joules_bounds_and_reasons_as_the_live_meter(gpus):
    meter, recording, outcomes = recorded(gpus)
    samples = iter(recording["samples"])
    again = replayed(recording["description"], lambda: next(samples), gpus.time.clock_ns)
    marks = [again.read() for _ in range(4)]
    assert [again.energies(*marks[at : at + 2], duration_s=1.0, cpu_s=0.0) for at in range(3)] == outcomes
    assert again.info() == meter.info()
    assert again.billed == meter.billed
    assert again.channels == meter.channels
    assert again.describe() == meter.describe()
    assert again.states("begin") == ()
    again.close()
    assert len(outcomes[0][0]) == 5
    assert "Timeout" in outcomes[1][1][0].reason
    assert outcomes[2][1], "a window that began while a reading failed holds only a part of its joules"


def test_each_sample_has_a_value_a_channel_and_says_why_one_is_not_there(gpus):
    meter, recording, _ = recorded(gpus)
    assert {len(sample) for sample in recording["samples"]} == {len(meter.channels)}
    broken = dict(zip(meter.channels, recording["samples"][2], strict=True))
    assert "Timeout" in broken["gpu2.uj"]
    assert broken["gpu2.mw"] is None
    assert isinstance(broken["gpu0.mj"], int)


def test_a_hole_in_a_recording_is_missing(gpus):
    meter, recording, _ = recorded(gpus)
    samples = iter([recording["samples"][0], [None] * len(meter.channels)])
    again = replayed(recording["description"], lambda: next(samples), gpus.time.clock_ns)
    energies, missing = again.energies(again.read(), again.read(), duration_s=1.0, cpu_s=0.0)
    assert not energies
    assert all("holds no reading" in gap.reason for gap in missing)
