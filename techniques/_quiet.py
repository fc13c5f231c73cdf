"""Keep exporters and loaders from writing to the terminal, within a scope."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence prints, warnings, log lines below errors and progress bars; restore everything after."""
    from transformers.utils import logging as reports

    bars, level, disabled = reports.is_progress_bar_enabled(), reports.get_verbosity(), logging.root.manager.disable
    reports.disable_progress_bar()
    reports.set_verbosity_error()
    logging.disable(max(disabled, logging.WARNING))
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        reports.set_verbosity(level)
        if bars:
            reports.enable_progress_bar()
