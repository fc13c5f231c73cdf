"""Keep `transformers` from drawing progress bars and load reports, within a scope."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence bars, load reports and warnings inside the block; restore everything after it.

    Loading has its own checks in `models`; what `transformers` reports beside them (a new head,
    an unused pooler) is what was asked for.
    """
    from transformers.utils import logging as reports

    bars, level, disabled = reports.is_progress_bar_enabled(), reports.get_verbosity(), logging.root.manager.disable
    reports.disable_progress_bar()
    reports.set_verbosity_error()
    logging.disable(max(disabled, logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        reports.set_verbosity(level)
        if bars:
            reports.enable_progress_bar()
