"""A share by CPU time: never more than the node, never a number where the host's CPU time does not resolve."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.meters.attribution import attributed, resolution_s
from harness.records import Energy, Missing, Provenance

joules = st.floats(1e-3, 1e6)
seconds = st.floats(0.0, 1e4)


def package(energy_j=100.0, low_j=99.0, high_j=101.0, domain="cpu-package"):
    return Energy(
        domain=domain,
        energy_j=energy_j,
        low_j=low_j,
        high_j=high_j,
        provenance=Provenance.COUNTER,
        boundary="CPU packages",
        meter="rapl",
    )


def test_the_share_is_cpu_time_over_busy_time_and_says_what_it_is():
    share = attributed(package(), cpu_s=3.0, busy_s=4.0, cores=4)
    assert share.energy_j == pytest.approx(75.0)
    assert (share.domain, share.meter, share.provenance) == ("cpu-package-share", "attributed", Provenance.ATTRIBUTED)
    assert not share.billed
    assert "idle of the node included" in share.boundary
    assert share.idle_j is None


def test_the_interval_holds_the_jiffies_and_the_counters_own():
    share = attributed(package(), cpu_s=3.0, busy_s=4.0, cores=4)
    assert share.low_j == pytest.approx(99.0 * 3.0 / 4.08)
    assert share.high_j == pytest.approx(101.0 * 3.0 / 3.92)
    unbounded = attributed(package(low_j=None, high_j=None), cpu_s=3.0, busy_s=4.0, cores=4)
    assert (unbounded.low_j, unbounded.high_j) == (None, None), "half an interval would pretend"


@given(
    energy_j=joules,
    others=st.lists(seconds, max_size=8),
    cpu_s=seconds,
    rest_s=seconds,
    cores=st.integers(1, 512),
)
def test_shares_of_several_processes_never_sum_past_the_node(energy_j, others, cpu_s, rest_s, cores):
    every = [cpu_s, *others]
    busy_s = sum(every) + rest_s
    assume(busy_s > resolution_s(cores))
    shares = [attributed(package(energy_j), cpu_s=each, busy_s=busy_s, cores=cores) for each in every]
    assert all(0.0 <= share.energy_j <= energy_j for share in shares)
    assert sum(share.energy_j for share in shares) <= energy_j * (1 + 1e-9)


@given(
    energy_j=joules,
    every=st.lists(st.floats(0.01, 1e3), min_size=1, max_size=8),
    off=st.floats(-1.0, 1.0),
    cores=st.integers(1, 64),
)
def test_whatever_jiffies_round_away_the_true_share_is_inside_the_interval(energy_j, every, off, cores):
    truth_s = sum(every)
    busy_s = max(0.0, truth_s + off * resolution_s(cores))
    shares = [
        attributed(package(energy_j, energy_j, energy_j), cpu_s=each, busy_s=busy_s, cores=cores) for each in every
    ]
    known = [(share, each) for share, each in zip(shares, every, strict=True) if isinstance(share, Energy)]
    for share, each in known:
        truth_j = energy_j * each / truth_s
        assert share.low_j <= truth_j * (1 + 1e-9)
        assert share.high_j >= truth_j * (1 - 1e-9)
        assert share.low_j <= share.energy_j <= share.high_j * (1 + 1e-12)
    assert sum(share.low_j for share, _ in known) <= energy_j * (1 + 1e-9)


def test_more_cpu_time_than_the_host_was_seen_busy_is_the_whole_node_and_no_more():
    share = attributed(package(), cpu_s=4.01, busy_s=4.0, cores=2)
    assert share.energy_j == 100.0
    assert share.high_j == 101.0


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"busy_s": None}, "not known for this window"),
        ({"busy_s": 0.03, "cpu_s": 0.01}, "jiffies on 2 cores resolve 0.04"),
        ({"energy": package(domain="gpu0")}, "gpu0 does not follow CPU time"),
    ],
)
def test_where_the_share_cannot_be_told_it_is_missing_with_the_reason(given_, words):
    asked = {"energy": package(), "cpu_s": 1.0, "busy_s": 2.0, "cores": 2} | given_
    gap = attributed(asked.pop("energy"), **asked)
    assert isinstance(gap, Missing)
    assert gap.domain.endswith("-share")
    assert words in gap.reason


def test_a_sleeping_case_beside_a_busy_neighbour_gets_nothing():
    share = attributed(package(), cpu_s=0.0, busy_s=8.0, cores=4)
    assert (share.low_j, share.energy_j, share.high_j) == (0.0, 0.0, 0.0)
