"""How long the command line takes to answer (aim: 0.2 s, no torch loaded)."""

import subprocess
import sys


def test_help(benchmark):
    command = [sys.executable, "-m", "harness", "--help"]

    def run() -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    text = benchmark.pedantic(run, rounds=20, warmup_rounds=2)
    assert "joulebench run" in text
    print(f"\njoulebench --help: median {benchmark.stats.stats.median:.3f} s wall")


def test_a_bare_interpreter(benchmark):
    """What Python itself takes, to set beside it."""
    run = benchmark.pedantic(
        subprocess.run, args=([sys.executable, "-c", "pass"],), kwargs={"check": True}, rounds=20, warmup_rounds=2
    )
    assert run.returncode == 0
