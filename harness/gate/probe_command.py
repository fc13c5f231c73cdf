"""The probe's side of a command: which file it starts, so that two arms that start the same one are seen.

`probe.py` loads this file by its path, in the interpreter of the arm; it imports the standard library only.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def resolve(commands: Mapping[str, Sequence[str]], inside: Sequence[str]) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the commands that do not exist, each with its reason, and those that start a file outside the slot.

    `commands` is case → program and arguments, relative to the working directory. Of the latter: the file, whether
    it is a Python package, and the words of the command that name something of the slot.
    """
    absent: dict[str, str] = {}
    outside: dict[str, Any] = {}
    for case, command in commands.items():
        program = shutil.which(command[0])
        if program is None:
            absent[case] = f"there is no program {command[0]} that can be run (for {' '.join(command)})"
            continue
        module = _module(program, command[1:])
        if module is None and _is_python(program):
            continue  # a file, or `-c`: code of the slot or of the configuration, which imports from the slot first
        file = Path(program).resolve() if module is None else _file(module)
        if file is None:
            absent[case] = f"there is no module {module} (for {' '.join(command)})"
        elif not _within(file, inside):
            outside[case] = {
                "file": str(file),
                "package": module is not None,
                "names": _named(command[1:], inside),
            }
    return absent, outside


def _is_python(program: str) -> bool:
    return re.fullmatch(r"python[\d.]*", Path(program).name) is not None


def _module(program: str, arguments: Sequence[str]) -> str | None:
    """Return the module that runs: of `python -m`, or of a script that an installed package put beside Python."""
    if _is_python(program):
        options = 0
        while (
            options < len(arguments) and arguments[options].startswith("-") and arguments[options] not in ("-c", "-m")
        ):
            options += 1
        given = arguments[options : options + 2]
        return given[1] if len(given) == 2 and given[0] == "-m" else None
    if Path(program).absolute().parent != Path(sys.executable).parent:
        return None
    scripts = importlib.metadata.entry_points(group="console_scripts", name=Path(program).name)
    return next((script.value.partition(":")[0] for script in scripts), None)


def _file(module: str) -> Path | None:
    """Return where the top of a module lies; nothing of it is run."""
    spec = importlib.util.find_spec(module.partition(".")[0])
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    return Path(folders[0] if folders else spec.origin or ".").resolve()


def _within(file: Path, inside: Sequence[str]) -> bool:
    return any(file.is_relative_to(folder) for folder in inside)


def _named(arguments: Sequence[str], inside: Sequence[str]) -> list[str]:
    """Return the words that name a file, a folder or a package of the slot."""
    words = dict.fromkeys([*arguments, *re.split(r"[\s=:;,]+", " ".join(arguments))])
    return [word for word in words if any(_within(place, inside) for place in _places(word))]


def _places(word: str) -> list[Path]:
    package = word.partition(".")[0]
    places = [word, *([package, f"src/{package}"] if package else [])] if word else []
    return [Path(place).resolve() for place in places if os.path.exists(place)]  # noqa: PTH110 no word is too long for it
