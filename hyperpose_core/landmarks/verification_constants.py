"""The constants of the verification, as `benchmarks/landmark_verification.py` fits them."""

from __future__ import annotations

import numpy as np

from hyperpose_core.landmarks.verification import VerificationModel

GENERAL_MODEL = VerificationModel(
    weights=np.array([0.255, 2.382, 7.468, 0.0, 4.549, 0.585]), bias=-27.231, threshold=0.902
)
"""Fitted to right and wrong poses in a room and in a simulated town, for 5 wrong in 10,000 images."""
