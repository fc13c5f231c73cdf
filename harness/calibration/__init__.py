"""Fits what a busy vCPU of this host draws, against a counter or a wall meter, and keeps it as a power profile."""

from harness.calibration.fitting import Fit, LoadWindow, fit
from harness.calibration.making import Against, make_profile
from harness.calibration.measuring import Measurements, Plan, measure, plan

__all__ = ["Against", "Fit", "LoadWindow", "Measurements", "Plan", "fit", "make_profile", "measure", "plan"]
