"""The probe's side of a pytest test: runs one test in this process and repeats what it gives to `energy`.

`probe.py` loads this file by its path, in the interpreter of the arm; it imports the standard library and that
interpreter's pytest. The test runs twice: once as it is, so that its own assertions say whether the answer is right,
then with a fixture `energy` whose call obeys the gate until the input ends.

The gate's own `energy` stands in for that of joulebench's plug-in, which need not be installed in the arm.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

Serve = Callable[[Callable[[], Any], str], Any]
"""Takes what to repeat and the file it was loaded from; obeys the gate to its end; returns the last result."""

Refuse = Callable[[str, str], Exception]

SHOWN = 2000
"""Characters of a test's failure that an error message shows."""


class Energy:
    """What `energy` is while the gate measures: the first run calls once, the second obeys the gate."""

    def __init__(self, plugin: OneTest, request: Any) -> None:
        self._plugin = plugin
        self._request = request

    @property
    def benchmark(self) -> Any:
        """pytest-benchmark's fixture, as joulebench's own `energy` has it."""
        return self._request.getfixturevalue("benchmark")

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call once, or as often as the gate says; return what the last call returned."""
        return self._plugin.obey(lambda: function(*args, **kwargs), function)

    def pedantic(
        self,
        target: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        setup: Callable[..., Any] | None = None,
        teardown: Callable[..., Any] | None = None,
        **_: Any,
    ) -> Any:
        """Do the same; rounds and iterations are the gate's affair. Work between calls cannot be kept out of a slot."""
        if setup is not None or teardown is not None:
            self._plugin.refuse("Unusable", "a test with a setup or teardown between its calls cannot be gated")
        return self(target, *args, **(kwargs or {}))


class _Between(pytest.Item):
    """Stands between the two runs of a test: pytest takes down what a test needed only before another one."""

    def runtest(self) -> None:
        """Do nothing."""


class OneTest:
    """A pytest plug-in that holds the fixture and remembers what became of the test."""

    def __init__(self, serve: Serve, refuse: Refuse, inside: Sequence[str]) -> None:
        self._serve = serve
        self._refuse = refuse
        self._inside = inside
        self.items = 0
        self.runs = 0
        self.called = 0
        self.refusal: Exception | None = None
        self.failure = ""

    @pytest.fixture
    def energy(self, request: pytest.FixtureRequest) -> Energy:
        """Hand the test's function to the gate."""
        return Energy(self, request)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Run the one test twice, its fixtures anew."""
        self.items = len(items)
        if self.items == 1:
            items[:] = [items[0], _Between.from_parent(items[0].session, name="between"), items[0]]
        else:
            items.clear()

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Count the runs of the test."""
        self.runs += not isinstance(item, _Between)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember why the test's file could not be loaded."""
        if report.failed:
            self.failure = self.failure or str(report.longrepr)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember the first failure, or why the test was skipped."""
        if not report.passed and not self.failure:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            self.failure = f"{report.when} {report.outcome}: {reason}"

    def obey(self, call: Callable[[], Any], function: Callable[..., Any]) -> Any:
        """Call once in the first run, serve the gate in the second."""
        self.called += 1
        if self.called > self.runs:
            self.refuse("Unusable", "a test that calls `energy` more than once cannot be gated; make it two tests")
        loaded_from = self._loaded_from(function)
        if self.runs == 1:
            return call()
        try:
            return self._serve(call, loaded_from)
        except Exception as error:
            self.refusal = error  # pytest would make a failed test of it
            raise

    def refuse(self, kind: str, message: str) -> None:
        """End the session: what the test does cannot be gated."""
        self.refusal = self._refuse(kind, message)
        pytest.exit(message)

    def _loaded_from(self, function: Callable[..., Any]) -> str:
        """Return the file of the function's module; the slot's own packages must have been loaded from the slot."""
        for name, elsewhere in _strays([Path(folder) for folder in self._inside]).items():
            self.refuse(
                "Outside",
                f"{name} was loaded from {elsewhere}, not from the slot {self._inside[0]}, so both arms would measure "
                'the same code; put the slot first with `pythonpath = ["."]`, or install each with --build "COMMAND"',
            )
        module = sys.modules.get(getattr(function, "__module__", None) or "")
        return str(getattr(module, "__file__", None) or type(function).__name__)


def _strays(inside: Sequence[Path]) -> dict[str, Path]:
    """Return the modules that a slot has of its own, at its top or in `src`, and that came from elsewhere."""
    strays = {}
    for folder in inside:
        for place in (folder, folder / "src"):
            own = {path.parent.name for path in place.glob("*/__init__.py")} | {
                path.stem for path in place.glob("*.py")
            }
            for name in own & sys.modules.keys():
                file = getattr(sys.modules[name], "__file__", None)
                if file is not None and not any(Path(file).resolve().is_relative_to(root) for root in inside):
                    strays[name] = Path(file).resolve()
    return strays


def run(nodeid: str, inside: Sequence[str], serve: Serve, refuse: Refuse) -> None:
    """Run one test and serve the gate from within it, until its input ends.

    Args:
        nodeid: as pytest names it, `tests/test_speed.py::test_encode`, relative to the working directory.
        inside: folders of the arm, from which its own packages must have been loaded.
        serve: see `Serve`.
        refuse: makes the error to raise from its kind and its message.

    Raises: what `refuse` makes: no such test, one that fails, is skipped, or does not call `energy`.
    """
    plugin = OneTest(serve, refuse, inside)
    code = int(pytest.main([*_options(), nodeid], plugins=[plugin]))
    if plugin.refusal is not None:
        raise plugin.refusal
    if plugin.items > 1:
        raise refuse("Unusable", f"{nodeid} names {plugin.items} tests; add the parameters, as in test_encode[small]")
    if plugin.failure:
        raise refuse("TestFailed", f"{nodeid}: {plugin.failure[-SHOWN:]}")
    if plugin.items == 0:
        unloaded = _collected(nodeid.partition("::")[0]).failure
        if unloaded:
            raise refuse("TestFailed", f"{nodeid} cannot be loaded: {unloaded[-SHOWN:]}")
        raise refuse("Absent", f"there is no test {nodeid} (pytest ended with {code})")
    if plugin.called == 0 and code != pytest.ExitCode.OK:
        raise refuse("TestFailed", f"{nodeid}: pytest ended with {code} before it ran the test; its log says why")
    if plugin.called == 0:
        raise refuse("Unusable", f"{nodeid} does not call `energy`, so there is nothing to measure in it")


def resolve(tests: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the tests that do not exist, and those whose file cannot be loaded, each with its reason.

    `tests` is case → node id, relative to the working directory.
    """
    absent: dict[str, str] = {}
    broken: dict[str, str] = {}
    for file in sorted({nodeid.partition("::")[0] for nodeid in tests.values()}):
        mine = {case: nodeid for case, nodeid in tests.items() if nodeid.partition("::")[0] == file}
        if not Path(file).exists():
            absent |= {case: f"there is no {file} (for {nodeid})" for case, nodeid in mine.items()}
            continue
        found = _collected(file)
        for case, nodeid in mine.items():
            if found.failure:
                broken[case] = f"{file} cannot be loaded: {found.failure[-SHOWN:]}"
            elif not any(_same(item, nodeid) for item in found.tests):
                absent[case] = f"{file} has no {nodeid.partition('::')[2] or 'test'}"
    return absent, broken


class _Collected:
    def __init__(self) -> None:
        self.tests: list[str] = []
        self.failure = ""

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember why a file could not be loaded."""
        if report.failed:
            self.failure = self.failure or str(report.longrepr)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Remember what was found."""
        self.tests = [item.nodeid.partition("::")[2] for item in items]

    @pytest.fixture
    def energy(self) -> None:
        """Stand in for the plug-in's fixture; nothing runs while tests are only collected."""


def _collected(file: str) -> _Collected:
    """Return what pytest finds in a file; where it ends before it has looked, with its own words as the failure."""
    found = _Collected()
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = pytest.main([*_options(), "--collect-only", file], plugins=[found])
    sys.stderr.write(said.getvalue())
    # A conftest.py or an option that does not work gives no report of the collection.
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) and not found.tests:
        found.failure = found.failure or f"pytest ended with {int(code)}: {said.getvalue().strip()}"
    return found


def _same(found: str, nodeid: str) -> bool:
    wanted = nodeid.partition("::")[2]
    return found == wanted or found.startswith(f"{wanted}[") or not wanted


def _options() -> list[str]:
    """Return how pytest runs here: no capture (it would take the gate's pipes), no neighbours, nothing left behind."""
    options = ["-s", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:joulebench"]
    # Given only where the plug-in is there to know them: elsewhere they would be unknown options.
    known = {"xdist": "-n0", "pytest_cov": "--no-cov", "pytest_benchmark": "--benchmark-disable"}
    return [*options, *(option for package, option in known.items() if importlib.util.find_spec(package))]
