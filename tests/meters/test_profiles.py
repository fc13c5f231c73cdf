"""Power profiles: found by the type of CPU, the newest first, never passed over when broken."""

import json

import msgspec
import pytest

from harness.errors import ConfigError
from harness.meters import modelled, profiles
from harness.meters.profiles import CpuType, LevelPower, Profile
from harness.records import Provenance

MILAN = CpuType(vendor="AuthenticAMD", family=25, model=1, brand="AMD EPYC 7763 64-Core Processor", threads_per_core=2)


def profile(**changes):
    made = Profile(
        version=profiles.VERSION,
        name="milan",
        cpu=MILAN,
        vcpus=128,
        against="rapl",
        boundary="CPU packages; no DRAM",
        whole_machine=False,
        idle_w=64.0,
        dynamic_w=1.5,
        dynamic_low_w=1.45,
        dynamic_high_w=1.55,
        low_w=1.2,
        high_w=2.0,
        error_w=3.0,
        residual_w=1.0,
        linear=True,
        levels=(LevelPower(kind="idle", busy_vcpus=0.1, power_w=64.0, windows=9),),
        seed=1,
        windows=45,
        refused=0,
        created_utc="2026-11-20T10:00:00Z",
        code_version="0.1.0",
    )
    return msgspec.structs.replace(made, **changes)


@pytest.fixture
def milan(tmp_path):
    """The root of a Milan host's /proc and /sys."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(
        "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 1\n"
        "model name\t: AMD EPYC 7763 64-Core Processor\nstepping\t: 1\nflags\t\t: avx2\n\n"
    )
    topology = tmp_path / "sys/devices/system/cpu/cpu0/topology"
    topology.mkdir(parents=True)
    (topology / "thread_siblings_list").write_text("0,64\n")
    return tmp_path


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "power"


def test_the_type_of_a_cpu_leaves_the_stepping_out_and_keeps_the_threads_a_core(milan):
    assert profiles.cpu_type(milan) == MILAN
    cpuinfo = milan / "proc/cpuinfo"
    cpuinfo.write_text(cpuinfo.read_text().replace("stepping\t: 1", "stepping\t: 2"))
    assert profiles.cpu_type(milan) == MILAN


@pytest.mark.parametrize(("text", "threads"), [("0,64", 2), ("0-1", 2), ("3", 1), ("0-7,64-71", 16), ("x", None)])
def test_threads_a_core_are_counted_from_the_list_of_siblings(milan, text, threads):
    (milan / "sys/devices/system/cpu/cpu0/topology/thread_siblings_list").write_text(text)
    assert profiles.cpu_type(milan).threads_per_core == threads


def test_a_profile_survives_its_file(folder):
    path = folder / "a.json"
    profiles.write(profile(), path)
    assert profiles.read(path) == profile()
    assert [each.name for each in folder.iterdir()] == ["a.json"], "nothing temporary stays"


def test_a_host_of_the_type_gets_the_profiles_watts_interval_and_boundary(milan, folder):
    profiles.write(profile(), folder / "a.json")
    meter = modelled.for_host(billed=True, root=milan, places=[folder])
    (energy,), _ = meter.energies(None, None, duration_s=5.0, cpu_s=10.0)
    assert (energy.low_j, energy.energy_j, energy.high_j) == pytest.approx((12.0, 15.0, 20.0))
    assert energy.provenance is Provenance.MODELLED
    assert "CPU packages; no DRAM" in energy.boundary
    info = meter.info()
    assert info.boundary == energy.boundary
    assert info.coefficients == f"profile:milan@{profile().sha256[:8]}"
    assert not any("wall" in note for note in info.notes)
    assert not meter.doubts


def test_idle_is_the_share_of_this_hosts_vcpus_and_is_not_billed(folder):
    found = profiles.Found(profile=profile())
    meter = modelled.ModelledMeter(None, billed=True, vcpus=4, power=modelled.of_profile(found))
    (energy,), _ = meter.energies(None, None, duration_s=10.0, cpu_s=0.0)
    assert energy.energy_j == 0.0
    assert energy.idle_j == pytest.approx(64.0 / 128 * 4 * 10)


def test_a_profile_made_at_the_wall_says_that_memory_is_inside(milan, folder):
    profiles.write(profile(whole_machine=True, boundary="whole machine at the wall"), folder / "a.json")
    info = modelled.for_host(billed=True, root=milan, places=[folder]).info()
    assert "whole machine at the wall" in info.boundary
    assert any("add no DRAM" in note for note in info.notes)
    assert info.domains == ("cpu-process",)


@pytest.mark.parametrize(
    "change", [{"vendor": "GenuineIntel"}, {"model": 17}, {"brand": "AMD EPYC"}, {"threads_per_core": 1}]
)
def test_a_profile_of_another_type_is_not_used(milan, folder, change):
    profiles.write(profile(cpu=msgspec.structs.replace(MILAN, **change)), folder / "a.json")
    meter = modelled.for_host(billed=True, root=milan, places=[folder])
    assert meter.info().coefficients == "cpu_watts@1:EPYC 3"


def test_a_host_that_does_not_name_its_cpu_matches_no_profile(folder):
    silent = CpuType(vendor=None, family=None, model=None, brand=None, threads_per_core=None)
    profiles.write(profile(cpu=silent), folder / "a.json")
    assert profiles.find(silent, (folder,)) is None


def test_of_two_profiles_the_newest_is_used_and_the_notes_name_the_other(milan, folder):
    old = profile(name="old", error_w=0.1)
    new = profile(name="new", error_w=9.0, created_utc="2026-11-21T00:00:00Z")
    profiles.write(old, folder / "z.json")
    profiles.write(new, folder / "a.json")
    info = modelled.for_host(billed=True, root=milan, places=[folder]).info()
    assert info.coefficients == new.coefficients
    assert any(old.coefficients in note and "newest of 2" in note for note in info.notes)


def test_the_teams_folder_and_the_users_own_are_both_looked_at(monkeypatch, tmp_path, folder):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("JOULEBENCH_POWER_PROFILES", str(folder))
    with pytest.raises(ConfigError, match=r"JOULEBENCH_POWER_PROFILES=.* is not a folder"):
        profiles.find(MILAN)
    folder.mkdir()
    assert profiles.find(MILAN) is None
    profiles.write(profile(name="own"), tmp_path / "data/joulebench/power/own.json")
    profiles.write(profile(name="team", created_utc="2026-11-22T00:00:00Z"), folder / "team.json")
    found = profiles.find(MILAN)
    assert (found.profile.name, len(found.older)) == ("team", 1)


def test_a_user_without_a_home_measures_all_the_same(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("JOULEBENCH_POWER_PROFILES", raising=False)
    monkeypatch.setattr(profiles.Path, "home", homeless)
    assert profiles.find(MILAN) is None
    with pytest.raises(ConfigError, match="set XDG_DATA_HOME"):
        profiles.home()


def broken(change):
    made = msgspec.to_builtins(profile())
    change(made)
    return json.dumps(made)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "truncated"),
        (broken(lambda made: made.update(version=2)), "version 2 is not the version 1"),
        (broken(lambda made: made.update(watts=3)), "unknown field `watts`"),
        (broken(lambda made: made.pop("idle_w")), "idle_w"),
        (broken(lambda made: made.update(low_w=1.6)), "low_w <= dynamic_w"),
        (broken(lambda made: made.update(idle_w=-1.0)), "not negative"),
        (broken(lambda made: made.update(vcpus=0)), "at least 1"),
    ],
)
def test_a_broken_profile_is_an_error_that_names_the_file_whatever_it_is_for(milan, folder, text, words):
    folder.mkdir()
    (folder / "broken.json").write_text(text)
    with pytest.raises(ConfigError, match=r"broken\.json cannot be used") as caught:
        modelled.for_host(billed=True, root=milan, places=[folder])
    assert words in str(caught.value)


def test_any_change_of_a_profile_changes_how_records_name_its_coefficients():
    assert profile().coefficients != profile(dynamic_w=1.5001).coefficients
    assert profile().coefficients == profile().coefficients


def test_a_replay_gives_the_same_joules_without_the_profile_or_its_host(milan, folder):
    profiles.write(profile(), folder / "a.json")
    meter = modelled.for_host(billed=True, root=milan, places=[folder])
    description = json.loads(json.dumps(meter.describe()))
    again = modelled.replayed(description, lambda: (), lambda: 0)
    assert again.info() == meter.info()
    asked = {"duration_s": 2.0, "cpu_s": 3.0}
    assert again.energies(None, None, **asked) == meter.energies(None, None, **asked)
    assert (meter.channels, meter.raw(meter.read())) == ((), ())
