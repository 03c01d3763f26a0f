"""Results as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def plain_data(value: Any) -> Any:
    """Return what JSON can hold: tuples as lists, and null for what is not a finite number."""
    if isinstance(value, Mapping):
        return {str(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_data(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
