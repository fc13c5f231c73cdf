"""Totals: what is summed, what is refused."""

import msgspec
import pytest

from harness import stats
from harness.errors import InvalidMeasurement, NotMeasured
from harness.records import Energy, Missing, Provenance, WindowKind


def test_a_total_counts_billed_domains_only_and_bears_the_weakest_provenance(make):
    window = make.Maker(provenance=Provenance.COUNTER).window(WindowKind.RUN, 10.0)
    model = Energy(domain="dram", energy_j=4.0, low_j=3.0, high_j=6.0, provenance=Provenance.MODELLED, boundary="dram",
                   meter="modelled")  # fmt: skip
    second_view = msgspec.structs.replace(
        model, domain="gpu0", energy_j=1000.0, billed=False, provenance=Provenance.FAKE
    )
    energies = (*window.measured.energies, model, second_view)
    window = msgspec.structs.replace(window, measured=msgspec.structs.replace(window.measured, energies=energies))
    found = stats.total(window)
    assert (found.energy_j, found.low_j, found.high_j) == (14.0, 13.0, 16.0)
    assert found.provenance is Provenance.MODELLED
    assert found.domains == ("cpu-process", "dram")


def test_a_missing_domain_is_an_error_that_names_case_and_domain_never_a_zero(make):
    window = make.Maker().window(WindowKind.RUN, 10.0)
    gap = Missing(domain="dram", reason="the counter was reset")
    torn = msgspec.structs.replace(window, measured=msgspec.structs.replace(window.measured, missing=(gap,)))
    with pytest.raises(NotMeasured, match=r"infer/x.*dram: the counter was reset"):
        stats.total(torn, "infer/x")


def test_no_billed_domain_is_an_error(make):
    window = make.Maker().window(WindowKind.RUN, 10.0)
    silent = msgspec.structs.replace(window, measured=msgspec.structs.replace(window.measured, energies=()))
    with pytest.raises(NotMeasured, match="no billed domain"):
        stats.total(silent, "infer/x")


@pytest.mark.parametrize("energy_j", [-1.0, float("nan"), float("inf")])
def test_a_reading_that_cannot_be_is_refused(make, energy_j):
    with pytest.raises(InvalidMeasurement, match="cannot be"):
        stats.total(make.Maker().window(WindowKind.RUN, energy_j))


def test_windows_that_bill_unlike_domains_are_not_added(make):
    one = stats.total(make.Maker().window(WindowKind.RUN, 1.0))
    with pytest.raises(NotMeasured, match="unlike domains"):
        stats.add([one, msgspec.structs.replace(one, domains=("gpu0",))])
    with pytest.raises(NotMeasured, match="no windows"):
        stats.add([])


def test_per_task_numbers_leave_build_and_warm_up_out(make):
    noise = make.Noise(block_sd=0, drift_sd=0)
    (record,) = make.infer_group((make.Truth("torch_eager", build_j=50.0),), noise=noise, base_j=0.02)
    assert stats.energy_per_task_j(record) == pytest.approx(0.02)
    assert stats.build_total(record).energy_j == pytest.approx(50.0)
    assert stats.duration_per_task_s(record) == pytest.approx(0.004)
    assert stats.cpu_per_task_s(record) == pytest.approx(0.004 * 0.99)
    assert stats.peak_memory_bytes(record) == 420 * 2**20


def test_evaluation_is_not_billed_to_training_and_the_target_is_reached_at_a_checkpoint(make):
    record = make.train_record("full", chunk_j=10.0, setup_j=4.0, curve=(0.1, 0.5, 0.8, 0.9), target=0.8, spread=0)
    assert stats.training_total(record).energy_j == pytest.approx(34.0)
    assert stats.eval_total(record).energy_j == pytest.approx(4.0)
    assert stats.to_target(record).energy_j == pytest.approx(24.0)


def test_a_target_that_is_not_reached_is_none_and_one_that_was_not_set_raises(make):
    assert stats.to_target(make.train_record("a", chunk_j=1.0, curve=(0.1, 0.2), target=0.8)) is None
    with pytest.raises(NotMeasured, match="no target"):
        stats.to_target(make.train_record("a", chunk_j=1.0, curve=(0.1, 0.2)))


def test_net_of_idle_takes_off_what_the_idle_host_of_each_fork_drew(make):
    noise = make.Noise(block_sd=0, drift_sd=0)
    (record,) = make.infer_group((make.Truth("torch_eager"),), noise=noise, base_j=0.02)
    with pytest.raises(NotMeasured, match="has no idle window"):
        stats.net_energy_per_task_j(record)
    runs = [window for window in record.windows if window.kind is WindowKind.RUN]
    duration_s = sum(window.measured.duration_s for window in runs)
    tasks = sum(window.tasks for window in runs)

    def rest(fork, energy_j):
        window = make.Maker().window(WindowKind.IDLE, energy_j)
        measured = msgspec.structs.replace(window.measured, duration_s=2.0)
        return msgspec.structs.replace(window, fork=fork, measured=measured)

    forks = sorted({window.fork for window in runs})
    rested = (*record.windows, *(rest(fork, joules) for fork in forks for joules in (1.0, 3.0)))
    found = stats.net_energy_per_task_j(msgspec.structs.replace(record, windows=rested))
    assert found == pytest.approx(0.02 - 1.0 * duration_s / tasks), "4 J in 4 s: the idle host draws 1 W"
    bare = msgspec.structs.replace(record, windows=(*record.windows, rest(forks[0], 1.0)))
    with pytest.raises(NotMeasured, match=f"fork {forks[1]} has no idle window"):
        stats.net_energy_per_task_j(bare)


def test_a_mixed_total_names_each_share_and_a_plain_one_its_provenance(make):
    mixed = stats.total(make.MixedMaker().window(WindowKind.RUN, 10.0))
    assert mixed.label == "mixed: 80 % counter, 20 % modelled"
    assert [(part.provenance, part.energy_j) for part in mixed.parts] == [
        (Provenance.COUNTER, pytest.approx(8.0)),
        (Provenance.MODELLED, pytest.approx(2.0)),
    ]
    assert stats.scaled(mixed, 0.5).label == stats.add([mixed, mixed]).label == mixed.label
    plain = stats.total(make.Maker(provenance=Provenance.COUNTER).window(WindowKind.RUN, 10.0))
    assert (plain.label, plain.mixed) == ("counter", False)
    assert stats.pooled([plain, mixed]).label == "mixed: 90 % counter, 10 % modelled"


@pytest.mark.parametrize(("share", "shown"), [(0.999, ">99 % counter, <1 %"), (0.5, "50 % counter, 50 %")])
def test_no_share_is_rounded_to_all_or_nothing(make, share, shown):
    window = make.MixedMaker(gpu_share=share).window(WindowKind.RUN, 10.0)
    assert stats.total(window).label == f"mixed: {shown} modelled"


def test_the_model_may_err_without_the_counter_beside_it(make):
    mixed = stats.total(make.MixedMaker().window(WindowKind.RUN, 10.0))
    assert mixed.at_model("low") == pytest.approx(8.0 + 0.7 * 2.0)
    assert mixed.at_model("high") == pytest.approx(8.0 + 1.4 * 2.0)
    assert mixed.low_j == pytest.approx(0.99 * 8.0 + 0.7 * 2.0)


def test_a_bill_says_how_each_domain_is_known(make):
    (record,) = make.infer_group((make.Truth("torch_eager"),), maker=make.MixedMaker(), forks=1, blocks=1)
    assert stats.bill(record) == {
        "cpu-process": ("modelled by modelled with cpu_watts@1:EPYC 3 (vm-model)",),
        "gpu0": ("counter by nvml (GPU board)",),
    }
