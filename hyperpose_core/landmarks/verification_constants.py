"""The constants of the verification, as `benchmarks/landmark_verification.py` fits them."""

from __future__ import annotations

import numpy as np

from hyperpose_core.landmarks.verification import VerificationModel

GENERAL_MODEL = VerificationModel(weights=np.array([1.5, 1.0, 3.0, 0.5, 0.5, 0.2]), bias=-6.0, threshold=0.0)
"""Fitted to right and wrong poses of several places."""
