"""One file a meter; `open_meters` puts those of this host behind one begin/end pair."""

from harness.meters.opening import NAMES, open_meters, survey
from harness.meters.seam import Survey

__all__ = ["NAMES", "Survey", "open_meters", "survey"]
