"""The pytest plug-in: the fixture `energy`, pytest-benchmark's `benchmark` with joules.

    def test_encode(energy):
        assert energy(encode, TEXT) == EXPECTED

runs `encode(TEXT)` in the rounds that pytest-benchmark chooses, opens one joulebench window a round, and leaves
the joules in `extra_info["joulebench"]` of `--benchmark-json`; every `--benchmark-*` option means what it always
does. Rounds too short for the meters hold more calls, and `batched` says so. With `--benchmark-disable` and in
the workers of pytest-xdist, where other tests would draw on the same meters, the function runs once and nothing
is measured; a test property says why. Without a test that asks for `energy`, the plug-in loads nothing.

`gate.yaml` may name such a test (`pytest: tests/test_speed.py::test_encode`); the gate then runs it with a fixture of
the same name that measures base against head (`harness/gate/probe_pytest.py`).

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.interop.energy_info import EnergyInfo
    from harness.interop.rounds import RoundTimer

_timer_key = pytest.StashKey["RoundTimer"]()
_shortest_key = pytest.StashKey[float]()
_measured_key = pytest.StashKey[list[tuple[str, "EnergyInfo"]]]()


class Energy:
    """What the fixture `energy` is: callable like pytest-benchmark's `benchmark`, which is its `benchmark`."""

    def __init__(self, node: Any, benchmark: Any, timer: RoundTimer | None, why_not: str | None) -> None:
        self.benchmark = benchmark
        self._node = node
        self._timer = timer
        self._why_not = why_not

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Measure `function(*args, **kwargs)` in pytest-benchmark's rounds; return what it returned."""
        with self._measured(pedantic=False):
            return self.benchmark(function, *args, **kwargs)

    def pedantic(self, target: Callable[..., Any], **options: Any) -> Any:
        """Measure in the rounds asked for, as pytest-benchmark's `pedantic`; a round too short has a doubt."""
        with self._measured(pedantic=True):
            return self.benchmark.pedantic(target, **options)

    @contextmanager
    def _measured(self, *, pedantic: bool) -> Iterator[None]:
        if self._timer is None:
            self._node.user_properties.append(("joulebench", f"energy not measured: {self._why_not}"))
            yield
            return
        from harness.interop import energy_info, rounds

        self._timer.attach(self.benchmark)
        try:
            yield
            shortest_s = self._node.config.stash[_shortest_key]
            info = rounds.collect(self._timer, self.benchmark, shortest_s, pedantic=pedantic)
        finally:
            self._timer.close()
        self._node.user_properties.append(("joulebench", energy_info.describe(info)))
        self._node.config.stash.setdefault(_measured_key, []).append((self._node.nodeid, info))


@pytest.fixture
def _joulebench_timer(request: pytest.FixtureRequest) -> Any:
    """Return the timer that `pytest_runtest_setup` gave to pytest-benchmark, or None where nothing is measured."""
    return request.node.stash.get(_timer_key, None)


@pytest.fixture
def energy(request: pytest.FixtureRequest, _joulebench_timer: Any, benchmark: Any) -> Energy:
    """Benchmark a function as `benchmark` does, and measure the joules of its rounds."""
    why_not = _why_not(request.config)
    if _joulebench_timer is None and why_not is None:
        why_not = "`energy` was asked for while the test ran; name it among the test's arguments"
    return Energy(request.node, benchmark, _joulebench_timer, why_not)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Hand pytest-benchmark our timer before it makes its fixture, for tests that ask for `energy`."""
    if "_joulebench_timer" not in getattr(item, "fixturenames", ()) or _why_not(item.config) is not None:
        return
    from harness.interop import rounds

    stash = item.config.stash
    if _shortest_key not in stash:
        stash[_shortest_key] = rounds.shortest_round_s()
    item.stash[_timer_key] = rounds.prepare(item, stash[_shortest_key])


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print one line a test with its joules, below pytest-benchmark's table."""
    measured = config.stash.get(_measured_key, [])
    if not measured:
        return
    from harness.interop import energy_info

    terminalreporter.section("joules (joulebench; one process, so for a verdict use `joulebench gate`)")
    for nodeid, info in measured:
        terminalreporter.write_line(f"{nodeid}: {energy_info.describe(info)}")


def _why_not(config: pytest.Config) -> str | None:
    """Return why no energy is measured in this session; None if it is."""
    if not config.pluginmanager.hasplugin("benchmark"):
        return "pytest-benchmark is switched off"
    if os.environ.get("PYTEST_XDIST_WORKER") or config.getoption("dist", "no") != "no":
        return "pytest-xdist runs other tests beside it, which draw on the same meters; run it with -n0"
    if config.getoption("benchmark_disable") and not config.getoption("benchmark_enable"):
        return "--benchmark-disable"
    if config.getoption("benchmark_skip"):
        return "--benchmark-skip"
    return None
