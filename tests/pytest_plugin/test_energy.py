"""The fixture `energy` in a project that is not ours, under a pytest that is not this one."""

import importlib.util
import json
import xml.etree.ElementTree as ET

import pytest

needs_xdist = pytest.mark.skipif(not importlib.util.find_spec("xdist"), reason="pytest-xdist is not installed")


def benchmarks(path):
    return {entry["name"]: entry for entry in json.loads(path.read_text())["benchmarks"]}


def properties(path):
    cases = ET.parse(path).getroot().iter("testcase")
    return {case.get("name"): [each.get("value") for each in case.iter("property")] for case in cases}


def test_a_foreign_project_gets_joules_beside_pytest_benchmarks_own_seconds(project, run_pytest):
    result = run_pytest("--benchmark-json=b.json", "--junitxml=j.xml")
    assert result.returncode == 0, result.stdout + result.stderr
    found = benchmarks(project / "b.json")
    assert found.keys() == {"test_encode", "test_sizes[100000]", "test_sizes[1000000]", "test_plain"}
    assert "joulebench" not in found["test_plain"]["extra_info"]
    for name in ("test_encode", "test_sizes[100000]", "test_sizes[1000000]"):
        stats, info = found[name]["stats"], found[name]["extra_info"]["joulebench"]
        assert info["gap"] is None
        assert len(info["energy_per_task_j"]) == stats["rounds"] == info["rounds"]
        assert info["tasks_per_round"] == stats["iterations"]
        assert 0 < info["low_j"] <= info["mean_j"] <= info["high_j"]
        assert info["provenance"] in info["known"]
        assert info["meters"][0]["self_test"]["monotonic"] is True
        assert info["cpu_s"] > 0
        # The windows hold the rounds and next to nothing more, so their length is the timer's.
        assert info["duration_s"] == pytest.approx(stats["mean"], rel=0.25)
    assert found["test_encode"]["options"]["timer"] == "perf_counter"
    tenth, whole = (found[f"test_sizes[{n}]"]["extra_info"]["joulebench"] for n in (100_000, 1_000_000))
    assert 3 < whole["median_j"] / tenth["median_j"] < 30, "ten times the work, on a machine that may be busy"


def test_junit_and_the_terminal_say_the_joules_and_how_they_are_known(project, run_pytest):
    result = run_pytest("--junitxml=j.xml")
    said = properties(project / "j.xml")
    assert said["test_without_benchmark"] == said["test_plain"] == []
    assert "mJ a call" in said["test_encode"][0]
    assert "tests/test_speed.py::test_encode: " in result.stdout
    assert ET.parse(project / "j.xml").getroot().find("testsuite").get("failures") == "0"


def test_a_function_too_quick_for_a_window_is_called_often_in_one_and_that_is_said(project, run_pytest):
    run_pytest("--benchmark-json=b.json")
    found = benchmarks(project / "b.json")
    quick, slow = found["test_encode"], found["test_sizes[1000000]"]
    assert quick["stats"]["iterations"] > 10
    assert f"each round holds {quick['stats']['iterations']} calls" in quick["extra_info"]["joulebench"]["batched"]
    assert slow["stats"]["iterations"] == 1
    assert slow["extra_info"]["joulebench"]["batched"] is None


def test_settings_of_the_users_own_marker_stay_in_force(project, write, run_pytest):
    write("""
        import time

        @pytest.mark.benchmark(group="codec", min_rounds=7, max_time=0.001, timer=time.process_time)
        def test_encode(benchmark, energy):
            assert energy(encode, 100_000)
            assert energy.benchmark is benchmark
    """)
    result = run_pytest("--benchmark-json=b.json")
    assert result.returncode == 0, result.stdout
    found = benchmarks(project / "b.json")["test_encode"]
    assert found["group"] == "codec"
    assert found["stats"]["rounds"] == 7
    assert found["options"]["timer"] == "process_time"
    assert found["extra_info"]["joulebench"]["rounds"] == 7


def test_pedantic_rounds_are_the_tests_own_and_a_short_one_has_a_doubt(project, write, run_pytest):
    write("""
        def test_encode(energy):
            assert energy.pedantic(encode, args=(10,), rounds=4, iterations=2, warmup_rounds=3) == 285
    """)
    run_pytest("--benchmark-json=b.json")
    found = benchmarks(project / "b.json")["test_encode"]
    info = found["extra_info"]["joulebench"]
    assert (info["rounds"], info["tasks_per_round"]) == (4, 2)
    assert "as the test asks" in info["batched"]
    assert "WINDOW_TOO_SHORT" in info["doubts"]


def test_disabled_benchmarks_call_the_function_once_and_measure_nothing(project, write, run_pytest):
    write("""
        import sys
        calls = []

        def test_encode(energy):
            energy(calls.append, 1)
            assert calls == [1]
            assert "joulebench" not in energy.benchmark.extra_info
            assert "harness.meters" not in sys.modules
    """)
    result = run_pytest("--benchmark-disable", "--junitxml=j.xml")
    assert result.returncode == 0, result.stdout
    assert properties(project / "j.xml")["test_encode"] == ["energy not measured: --benchmark-disable"]


def test_a_project_that_does_not_use_the_fixture_loads_nothing_for_it(write, run_pytest):
    write("""
        import sys

        def test_nothing_is_loaded(benchmark, request):
            benchmark(encode, 3)
            assert request.config.pluginmanager.hasplugin("joulebench")
            loaded = [name for name in sys.modules if name.split(".")[0] in ("harness", "msgspec", "numpy", "torch")]
            assert loaded in (["harness", "harness.pytest_plugin"], ["harness.pytest_plugin", "harness"])
    """)
    result = run_pytest()
    assert result.returncode == 0, result.stdout


def test_a_test_that_fails_inside_its_function_fails_as_itself(project, write, run_pytest):
    write("""
        def test_broken(energy):
            energy(encode, "not a number")

        def test_next(energy):
            assert energy(encode, 3) == 5
    """)
    result = run_pytest("--junitxml=j.xml", "--benchmark-json=b.json")
    assert result.returncode == 1
    assert "TypeError" in result.stdout
    assert "1 failed, 1 passed" in result.stdout
    assert benchmarks(project / "b.json").keys() == {"test_next"}


def test_energy_and_benchmark_of_one_test_are_the_same_and_serve_once(write, run_pytest):
    write("""
        def test_twice(energy):
            energy(encode, 3)
            energy(encode, 3)
    """)
    result = run_pytest()
    assert result.returncode == 1
    assert "FixtureAlreadyUsed" in result.stdout


def test_the_fixture_asked_for_while_the_test_runs_says_that_it_came_too_late(project, write, run_pytest):
    write("""
        def test_late(request):
            assert request.getfixturevalue("energy")(encode, 3) == 5
    """)
    assert run_pytest("--junitxml=j.xml").returncode == 0
    assert "name it among the test's arguments" in properties(project / "j.xml")["test_late"][0]


@needs_xdist
def test_beside_other_workers_no_energy_is_measured_and_the_reason_is_said(project, run_pytest):
    result = run_pytest("--junitxml=j.xml", "-W", "default", xdist="-n2")
    assert result.returncode == 0, result.stdout
    assert "run it with -n0" in properties(project / "j.xml")["test_encode"][0]
