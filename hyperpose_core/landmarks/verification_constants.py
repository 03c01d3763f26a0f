"""The constants of the verification, as `benchmarks/landmark_verification.py` fits them."""

from __future__ import annotations

import numpy as np

from hyperpose_core.landmarks.verification import VerificationModel

GENERAL_MODEL = VerificationModel(
    weights=np.array([1.24, 1.505, 5.393, 0.0, 5.497, 0.707]), bias=-38.99, threshold=0.615
)
"""Fitted to right and wrong poses in a room and in a simulated town, for 2 wrong in 10,000 images."""
