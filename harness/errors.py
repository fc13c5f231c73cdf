"""Everything joulebench raises on purpose, and the exit code each ends in.

    JoulebenchError                    1
    ├── UsageError                     2    the user can repair it by typing something else
    │   ├── ConfigError                2    a suite file: names the file, the path in it, the nearest valid key
    │   ├── DataError                  2    the data set: missing, empty, one class only, unreadable
    │   ├── ModelError                 2    the model folder: no safetensors, a hash that does not match
    │   ├── MissingExtra               2    an optional package is not installed: names the extra
    │   └── ResultsError               2    the results folder: unwritable, or not a run
    ├── NotMeasured                   13    arithmetic over a domain that has no reading
    ├── InvalidMeasurement            13    a reading that cannot be right, or outputs that differ
    ├── WorkerFailed                  13    a worker died, hung, or said that it failed
    └── IncomparableRecords           12    unlike hosts, data or models

A message says what happened, to which case, and what to do next.
"""

from __future__ import annotations

INTERRUPTED_EXIT = 130
"""Exit code after Ctrl-C (128 + SIGINT), as shells report it."""


class JoulebenchError(Exception):
    """Root of every error joulebench raises on purpose."""

    exit_code = 1


class UsageError(JoulebenchError):
    """The request cannot be carried out as it was given."""

    exit_code = 2


class ConfigError(UsageError):
    """A suite file is not valid."""


class DataError(UsageError):
    """A data set cannot be used."""


class ModelError(UsageError):
    """A model cannot be loaded safely."""


class MissingExtra(UsageError):
    """An optional dependency is missing; the message names the extra that installs it."""


class ResultsError(UsageError):
    """A results folder cannot be read or written."""


class NotMeasured(JoulebenchError):
    """A number was asked for that no meter produced."""

    exit_code = 13


class InvalidMeasurement(JoulebenchError):
    """A measurement contradicts itself and must not be used."""

    exit_code = 13


class WorkerFailed(JoulebenchError):
    """A worker process died, hung or reported a failure."""

    exit_code = 13


class IncomparableRecords(JoulebenchError):
    """Two results were set against each other that do not describe the same thing."""

    exit_code = 12
