"""Plug-ins are found, refused by name, and measure: ours, strangers', and the example of docs/meters.md."""

import importlib
import inspect
import re
import subprocess
import sys
import threading
import time
from importlib import metadata
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.meters import opening
from harness.meters.plugins import conformance, loading
from harness.meters.seam import REFRESHES_FOR_1_PERCENT
from harness.records import Energy, MeterInfo, Missing, Provenance

NEED_AN_ARGUMENT = {"wall", "prometheus"}
ROOT = Path(__file__).resolve().parents[3]
THIRD_PARTIES = ("amdsmi", "zeus", "zeus_apple_silicon", "codecarbon", "pynvml", "torch", "numpy")


def ours():
    found = metadata.entry_points(group=loading.ENTRY_POINT_GROUP)
    return sorted(entry.name for entry in found if entry.dist is not None and entry.dist.name == "joulebench")


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Installs a real distribution into a folder of its own and puts that on the path."""

    def install(name, entry_points, code=""):
        site = tmp_path / name
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = "\n".join(f"{key} = {value}" for key, value in entry_points.items())
        (info / "entry_points.txt").write_text(f"[{loading.ENTRY_POINT_GROUP}]\n{lines}\n")
        (site / f"{name}.py").write_text(code)
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        return site

    yield install
    for name in ("stranger", "other", "joulebench_hwmon"):
        sys.modules.pop(name, None)


def blocks(language):
    page = (ROOT / "docs" / "meters.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


@pytest.fixture
def drawing(tmp_path):
    """A counter file of microjoules that 30 W fill."""
    path, ended = tmp_path / "energy1_input", threading.Event()

    def draw():
        while not ended.wait(0.005):
            new = tmp_path / "new"
            new.write_text(f"{int(time.perf_counter() * 30e6)}\n")
            new.replace(path)

    thread = threading.Thread(target=draw)
    thread.start()
    while not path.exists():
        time.sleep(0.005)
    yield path
    ended.set()
    thread.join()


def test_our_own_plug_ins_are_installed():
    assert ours() == ["amd", "apple", "codecarbon", "prometheus", "wall", "zeus"]
    assert set(ours()) <= set(loading.names())


def test_the_reserved_names_are_those_that_opening_knows():
    assert set(loading.BUILT_IN) == set(opening.NAMES)


@pytest.mark.parametrize("name", ours())
def test_each_is_a_function_of_argument_and_device_that_says_why_it_cannot_be_used_here(name):
    open_meter = loading.load(name)
    assert list(inspect.signature(open_meter).parameters) == ["argument", "device"]
    if name in NEED_AN_ARGUMENT:
        with pytest.raises(UsageError, match=name):
            open_meter("", None)
        return
    meter, missing = open_meter("", None)
    if meter is not None:
        assert not conformance.violations(meter)
        meter.close()
        return
    assert missing
    assert all(gap.domain and len(gap.reason) > 20 for gap in missing)


@pytest.mark.parametrize("name", ours())
def test_none_imports_a_third_party_before_it_is_opened(name):
    code = (
        f"import sys, harness.meters.plugins.{name}; print([name for name in {THIRD_PARTIES} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_names_imports_nothing(distribution):
    distribution("stranger", {"strange": "stranger:open_meter"}, "raise RuntimeError('imported')")
    assert "strange" in loading.names()


def test_an_unknown_name_gets_the_nearest_and_all():
    with pytest.raises(UsageError, match=r"did you mean 'codecarbon'.*amd, apple, codecarbon"):
        loading.load("codecarbom")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("raise RuntimeError('no driver')", "RuntimeError: no driver"),
        ("def open_meter(", "SyntaxError"),
        ("", "AttributeError"),
        ("open_meter = 3", "is a int, not a function"),
    ],
)
def test_a_plug_in_that_does_not_import_names_its_distribution_and_the_error(distribution, code, words):
    distribution("stranger", {"strange": "stranger:open_meter"}, code)
    with pytest.raises(UsageError) as caught:
        loading.load("strange")
    assert "stranger 1.0" in str(caught.value)
    assert words in str(caught.value)


def test_a_name_that_two_distributions_claim_is_refused_with_both_named(distribution):
    distribution("stranger", {"strange": "stranger:open_meter"})
    distribution("other", {"strange": "other:open_meter"})
    with pytest.raises(UsageError, match=r"other 1\.0, stranger 1\.0"):
        loading.load("strange")


def test_a_plug_in_that_takes_the_name_of_one_of_ours_is_refused(distribution):
    distribution("stranger", {"zeus": "stranger:open_meter"})
    with pytest.raises(UsageError, match=r"joulebench .*, stranger 1\.0"):
        loading.load("zeus")


@pytest.mark.parametrize("name", loading.BUILT_IN)
def test_a_built_in_name_is_refused_and_never_listed(distribution, name):
    distribution("stranger", {name: "stranger:open_meter"})
    assert name not in loading.names()
    with pytest.raises(UsageError, match=r"built into joulebench.*stranger 1\.0"):
        loading.load(name)


def test_the_example_of_the_page_is_installed_found_and_measures(distribution, drawing, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    table = re.search(r'^(\w+) = "(.*)"$', blocks("toml")[0], re.MULTILINE)
    distribution("joulebench_hwmon", {table[1]: table[2]}, blocks("python")[0])
    window = opening.open_meters([f"hwmon:{drawing}"])
    try:
        (info,) = window.infos()
        mark = window.begin()
        time.sleep(0.3)
        measured = window.end(mark)
    finally:
        window.close()
    assert callable(importlib.import_module(loading.load("hwmon").__module__).replayed)
    (energy,) = measured.energies
    assert (energy.domain, energy.meter, energy.billed) == ("board", "hwmon", True)
    assert energy.low_j <= 30 * measured.duration_s <= energy.high_j
    assert info.window_for_1_percent_s == pytest.approx(REFRESHES_FOR_1_PERCENT * info.refresh_s)


def test_the_tests_of_the_page_pass(distribution, tmp_path):
    distribution("joulebench_hwmon", {"hwmon": "joulebench_hwmon:open_meter"}, blocks("python")[0])
    tests = {}
    exec(compile(blocks("python")[1], "docs/meters.md", "exec"), tests)
    ran = [name for name in tests if name.startswith("test_")]
    for name in ran:
        folder = tmp_path / name
        folder.mkdir()
        tests[name](folder)
    assert len(ran) == 2


def info_of(**fields):
    return MeterInfo(provenance=Provenance.IMPORTED, **fields)


def test_conformance_names_what_is_wrong_with_a_meter_and_a_window():
    class Careless:
        name = "careless"
        billed = frozenset({"elsewhere"})
        doubts = ()

        def info(self):
            return info_of(name="other", domains=(), boundary="")

    problems = " ".join(conformance.violations(Careless()))
    for words in ("'other'", "domains is empty", "boundary is empty", "elsewhere", "imported are never billed"):
        assert words in problems


def test_zero_joules_without_a_bound_a_gap_and_a_lost_domain_are_violations():
    class Zero:
        name = "zero"
        billed = frozenset({"a"})
        doubts = ()

        def info(self):
            return info_of(name="zero", domains=("a", "b", "c"), boundary="x")

    energy = Energy(domain="a", energy_j=0.0, provenance=Provenance.COUNTER, boundary="x", meter="zero", billed=False)
    problems = conformance.window_violations(Zero(), [energy], [Missing(domain="b", reason="")], duration_s=1.0)
    text = " ".join(problems)
    for words in ("nothing was measured", "without a reason", "'c'", "contradicts", "differs from info()"):
        assert words in text
