"""The modelled meter: linear in CPU time, with an interval from sources that disagree."""

import csv
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InvalidMeasurement
from harness.meters import modelled
from harness.meters.modelled import TDP_RATIO_IDLE, TDP_RATIO_MAX, ModelledMeter, coefficients
from harness.meters.window import MeterWindow
from harness.records import Doubt, Provenance


def table(name):
    return list(csv.DictReader(resources.files("harness.meters").joinpath(name).read_text("utf-8").splitlines()))


ROWS = table("cpu_watts.csv")


def energy(meter, cpu_s, duration_s=1.0):
    (only,), missing = meter.energies(None, None, duration_s=duration_s, cpu_s=cpu_s)
    assert not missing
    return only


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["microarchitecture"])
def test_every_row_has_an_interval_around_its_value_and_names_its_sources(row):
    w = coefficients(row["microarchitecture"])
    assert w.known
    assert 0 < w.low_w <= w.dynamic_w <= w.high_w
    assert w.low_w < w.high_w, "two sources never agree exactly"
    assert w.dynamic_w == pytest.approx(float(row["max_w"]) - float(row["idle_w"]))
    known = {source["source_id"] for source in table("cpu_watts_sources.csv")}
    assert set(row["source_ids"].split(";")) <= known
    assert row["tdp_kind"] == "recalled"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["microarchitecture"])
def test_every_interval_rests_on_two_independent_sources_and_the_record_names_them(row):
    w = coefficients(row["microarchitecture"])
    assert {"SPECpower", "TDP"} <= set(w.sources)
    assert ("Eco CI" in w.sources) == bool(row["ecoci_max_w"])
    assert ", ".join(w.sources) in ModelledMeter(row["microarchitecture"], billed=True).info().notes[0]
    if row["max_p90_w"]:
        assert w.low_w <= float(row["max_p10_w"]) - float(row["idle_p10_w"]) <= w.high_w
        assert w.low_w <= float(row["max_p90_w"]) - float(row["idle_p90_w"]) <= w.high_w


def test_a_row_with_a_single_source_is_refused(monkeypatch):
    lonely = {key: "" if key.startswith(("tdp", "ecoci")) else value for key, value in ROWS[0].items()}
    monkeypatch.setattr(modelled, "_table", lambda: [lonely])
    with pytest.raises(InvalidMeasurement, match=r"SPECpower.*alone"):
        coefficients(lonely["microarchitecture"])


def test_the_interval_of_epyc_3_is_the_span_of_its_sources():
    w = coefficients("EPYC 3")
    tdp_w = (TDP_RATIO_MAX - TDP_RATIO_IDLE) * 280 / 128
    views = [1.92 - 0.42, 1.77 - 0.33, 2.22 - 0.62, 2.02 - 0.45, 2.04 - 0.44, tdp_w]
    assert (w.low_w, w.high_w) == pytest.approx((min(views), max(views)))


@given(parts=st.lists(st.floats(0, 1e4), min_size=1, max_size=8))
def test_the_same_cpu_seconds_cost_the_same_in_any_shape(parts):
    meter = ModelledMeter("EPYC 3", billed=True, vcpus=2)
    whole = energy(meter, sum(parts), duration_s=3.0)
    pieces = [energy(meter, part) for part in parts]
    assert whole.energy_j == pytest.approx(sum(piece.energy_j for piece in pieces))
    assert whole.low_j == pytest.approx(sum(piece.low_j for piece in pieces))
    assert whole.low_j <= whole.energy_j <= whole.high_j


def test_idle_is_shown_for_all_vcpus_and_not_billed():
    meter = ModelledMeter("EPYC 3", billed=True, vcpus=4)
    asleep = energy(meter, cpu_s=0.0, duration_s=10.0)
    assert asleep.energy_j == 0.0
    assert asleep.idle_j == pytest.approx(0.42 * 10 * 4)


def test_memory_is_said_to_be_inside():
    info = ModelledMeter("EPYC 4", billed=True).info()
    assert "DRAM" in info.boundary
    assert info.coefficients == "cpu_watts@1:EPYC 4"
    assert info.provenance is Provenance.MODELLED


@pytest.mark.parametrize("name", [None, "Cooper Lake"])
def test_an_unknown_cpu_gets_the_span_of_the_table_and_a_doubt_on_every_window(name):
    meter = ModelledMeter(name, billed=True)
    w = coefficients(name)
    assert not w.known
    assert w.low_w == min(coefficients(row["microarchitecture"]).low_w for row in ROWS)
    assert w.high_w == max(coefficients(row["microarchitecture"]).high_w for row in ROWS)
    assert w.dynamic_w**2 == pytest.approx(w.low_w * w.high_w)
    assert any("UNKNOWN_MICROARCHITECTURE" in note for note in meter.info().notes)
    window = MeterWindow([meter])
    assert set(window.end(window.begin()).doubts) == {Doubt.UNKNOWN_MICROARCHITECTURE, Doubt.MODELLED}
    window.close()


def test_beside_a_counter_the_model_is_kept_and_casts_no_doubt():
    meter = ModelledMeter(None, billed=False)
    window = MeterWindow([meter])
    measured = window.end(window.begin())
    window.close()
    assert not measured.energies[0].billed
    assert not measured.doubts
    assert "not billed" in meter.info().notes[-1]
