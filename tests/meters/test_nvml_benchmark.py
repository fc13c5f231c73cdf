"""`benchmarks/gpu_meter.py`: it refuses without a GPU, and its arithmetic is right on a scripted one."""

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.meters.nvml import open_nvml
from harness.meters.nvml.devices import driver_present

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu_meter.py"


@pytest.fixture(scope="module")
def gpu_meter():
    spec = importlib.util.spec_from_file_location("joulebench_gpu_meter", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(driver_present(), reason="this machine has an NVIDIA driver")
def test_without_a_gpu_it_says_why_and_ends_with_2(tmp_path):
    out = tmp_path / "page.json"
    command = [sys.executable, str(SCRIPT), "--out", str(out)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=SCRIPT.parents[1])
    assert result.returncode == 2, result.stderr
    assert "NVIDIA driver library not found" in result.stderr
    assert "nothing was measured" in result.stderr
    assert not result.stdout
    assert not out.exists()


def test_the_page_of_a_scripted_gpu_holds_what_was_asked_for(gpu_meter, stub_nvml, capsys):
    gpu = stub_nvml.Gpu("GPU-a", refresh_s=0.005, power_w=150.0)
    gpu.offers = {("instant", "gpu"), ("usage", "gpu")}
    stub_nvml.gpus = [gpu]
    meter, _ = open_nvml(watch_s=0.1, also_power=True)

    def load(seconds):
        time.sleep(seconds)
        return 4

    options = gpu_meter._options(["--seconds=0.3", "--repeats=1", "--settle=0", "--watch=0.05", "--reads=20"])
    page = gpu_meter.report(stub_nvml, meter, load, options)
    meter.close()
    assert json.loads(json.dumps(page))["gpus"] == {"gpu0": "Stub 100"}
    assert page["versions"]["driver"] == "stub driver"
    assert page["refresh_load_s"]["gpu0"]["counter"] == pytest.approx(0.005, abs=0.005)
    assert "changed at most once" in page["refresh_idle_s"]["gpu0"]["power-gpu-instant"]
    assert set(page["read_cost_us"]["gpu0"]) == {"counter", "power-gpu-instant", "power-usage", "state"}
    assert [seen["kind"] for seen in page["windows"]] == ["idle", "load", "load", "idle"]
    assert all(not seen["missing"] and len(seen["states"]) == 2 for seen in page["windows"])
    assert page["integrated_over_counter"]["load"]["gpu0-power-instant"]["p50"] == pytest.approx(1.0, abs=0.05)
    assert page["product"]["gross_j"]["p50"] == pytest.approx(150 * 0.3 / 4, rel=0.05)
    assert "4 products: gpu0 1" in capsys.readouterr().err


def seen(kind, duration_s, products, energy_j):
    energies = {"gpu0": energy_j, "gpu0-power-instant": energy_j * 1.1}
    edges = {"low_j": {"gpu0": energy_j - 5}, "high_j": {"gpu0": energy_j + 5}}
    return {"kind": kind, "duration_s": duration_s, "products": products, "energy_j": energies, **edges}


def test_the_energy_of_a_product_is_gross_and_net_of_idle_with_the_bounds_of_its_windows(gpu_meter):
    windows = [seen("idle", 5.0, 0, 500.0), seen("load", 5.0, 1000, 3000.0), seen("load", 6.0, 1000, 3600.0)]
    found = gpu_meter.product(windows, 1000, "gpu0")
    assert found["gross_j"]["p50"] == pytest.approx(3.3)
    assert found["net_of_idle_j"]["p50"] == pytest.approx((2.5 + 3.0) / 2)
    assert (found["low_j"], found["high_j"]) == (2.995, 3.605)
    assert found["tflop_per_j"]["p50"] == pytest.approx((2e-3 / 3.0 + 2e-3 / 3.6) / 2)
    assert gpu_meter.ratios(windows)["load"]["gpu0-power-instant"]["p50"] == pytest.approx(1.1)


def test_without_a_window_of_each_kind_there_is_no_energy_of_a_product(gpu_meter):
    assert "missing" in gpu_meter.product([seen("load", 5.0, 10, 3000.0)], 1000, "gpu0")
    assert "missing" in gpu_meter.product([seen("idle", 5.0, 0, 3000.0)], 1000, "gpu0")


def test_percentiles_of_one_value_are_that_value(gpu_meter):
    assert gpu_meter.spread([2.0]) == {"p05": 2.0, "p50": 2.0, "p95": 2.0, "n": 1}
