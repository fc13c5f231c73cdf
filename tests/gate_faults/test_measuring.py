"""One gate in which many things go wrong at once: each case ends in its own verdict, code and reason."""

import pytest

pytestmark = pytest.mark.slow

CASES = """\
cases:
  - {name: slower, target: "package.work:encode"}
  - {name: wrong, target: "package.other:wrong"}
  - {name: wrong-and-cheaper, target: "package.other:cheaper"}
  - {name: worse, target: "package.other:worse"}
  - {name: fewer-items, target: "package.other:fewer"}
  - {name: no-samples, target: "package.other:nothing"}
  - {name: nan-score, target: "package.other:nan"}
  - {name: crash, target: "package.other:crash"}
  - {name: killed, target: "package.other:killed"}
  - {name: head-import, target: "package.fragile:work"}
  - {name: base-import, target: "package.mended:work"}
  - {name: script, target: "package.script:main"}
  - {name: gone, target: "package.other:gone"}
  - {name: fresh, target: "package.other:fresh"}
  - {name: random, command: [python, -S, -c, "import os; print(os.urandom(8))"]}
  - {name: fails, command: [python, -m, package.program]}
"""
OTHER = """\
import os
from types import SimpleNamespace

from package.work import unit


def wrong(): return [unit() for _ in range(20)] + ["right"]
def cheaper(): return [unit() for _ in range(20)][:1]
def worse(): unit(); return SimpleNamespace(scores=[1.0] * 60)
def fewer(): unit(); return SimpleNamespace(scores=[1.0] * 60)
def nothing(): return SimpleNamespace(scores=[])
def nan(): return SimpleNamespace(scores=[1.0, 2.0])
def crash(): return 1
def killed(): return 1
def gone(): return 1
"""
HEAD = """\
import os
from types import SimpleNamespace

from package.work import unit


def wrong(): return [unit() for _ in range(20)] + ["wrong"]
def cheaper(): return [unit() for _ in range(5)][:1] * 2
def worse(): unit(); return SimpleNamespace(scores=[1.0] * 30 + [0.0] * 30)
def fewer(): unit(); return SimpleNamespace(scores=[1.0] * 30)
def nothing(): return SimpleNamespace(scores=[])
def nan(): return SimpleNamespace(scores=[1.0, float("nan")])
def crash(): raise ValueError("no data")
def killed(): os.kill(os.getpid(), 9)
def fresh(): return 1
"""


@pytest.fixture(scope="module")
def mess(repository, gate, work):
    base = {
        "package/other.py": OTHER,
        "package/fragile.py": "def work(): return 1\n",
        "package/mended.py": "import no_such_module\ndef work(): return 1\n",
        "package/script.py": "import sys\ndef main(): return 1\n",
        "package/program.py": "print(1)\n",
    }
    head = {
        "package/other.py": HEAD,
        "package/work.py": work(60),
        "package/fragile.py": "1 / 0\n",
        "package/mended.py": "def work(): return 1\n",
        "package/script.py": "import sys\ndef main(): return 1\nsys.exit(0)\n",
        "package/program.py": "import sys\nsys.exit('no such file')\n",
    }
    withdrawn = '  - {name: withdrawn, target: "package.work:encode"}\n'
    folder = repository(CASES + withdrawn, base, head)
    config = folder / "gate.yaml"
    config.write_text(config.read_text().replace(withdrawn, ""))
    return gate(folder)


ENDS = [
    ("slower", 10, "regressed", "fresh forks show"),
    ("wrong", 13, "invalid", "a wrong answer: the result of head differs from that of base"),
    ("wrong-and-cheaper", 13, "invalid", "a wrong answer: the result of head differs from that of base"),
    ("worse", 14, "worse-quality", "score of 60 items fell from 1 to 0.5"),
    ("fewer-items", 13, "invalid", "base scored 60 items and head 30"),
    ("no-samples", 13, "invalid", "`scores` is empty, so nothing was answered"),
    ("nan-score", 13, "invalid", "head: NotFinite: the score of item 1 is nan"),
    ("crash", 13, "invalid", "head: ValueError: no data"),
    ("killed", 13, "invalid", "was ended by SIGKILL"),
    ("head-import", 13, "invalid", "head: package.fragile:work cannot be imported: ZeroDivisionError"),
    ("base-import", 13, "invalid", "base: package.mended:work cannot be imported: ModuleNotFoundError"),
    ("script", 13, "invalid", "head: package.script:main cannot be imported: SystemExit: 0"),
    ("gone", 12, "vanished", "base has it, head does not: package.other has no gone"),
    ("withdrawn", 12, "vanished", "base's gate.yaml gates it, head's does not"),
    ("fresh", 0, "new", "head has it, base does not: package.other has no fresh"),
    ("random", 13, "invalid", "changes from slot to slot; make it repeatable"),
    ("fails", 13, "invalid", "head: CommandFailed: python -m package.program ended with exit code 1: no such file"),
]
"""What becomes of each case."""


@pytest.mark.parametrize(
    ("name", "code", "verdict", "words"),
    [pytest.param(*row, marks=pytest.mark.accident(row[0], exits=row[1]), id=row[0]) for row in ENDS],
)
def test_each_case_has_its_own_verdict_code_and_reason(mess, name, code, verdict, words):
    mess.case_ends(name, code, verdict, words)


@pytest.mark.accident("many accidents at once: the most severe counts, all are listed", exits=13)
def test_the_most_severe_code_counts_and_all_are_listed(mess):
    assert set(mess.cases) == {row[0] for row in ENDS}
    assert "exit 13 (also 12, 14, 10)" in mess.out.splitlines()[-1]
    assert mess.code == 13
    mess.case_ends("killed", 13, "invalid", "3 times in a row")
