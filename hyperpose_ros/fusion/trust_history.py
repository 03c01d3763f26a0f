"""How many of the latest fixes could be trusted."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

REMEMBERED = 50
_FEWEST = 10


@dataclass(frozen=True)
class TrustSummary:
    """What became of the latest fixes.

    Attributes:
        fixes: how many are remembered, at most `REMEMBERED`.
        untrusted: how many of them were not trusted.
        causes: of those, how many by cause; a fix with several causes counts for each.
    """

    fixes: int
    untrusted: int
    causes: Mapping[str, int]

    @property
    def problem(self) -> str:
        """A sentence where most of the latest fixes were not trusted; empty where they were, or are few."""
        if self.fixes < _FEWEST or 2 * self.untrusted <= self.fixes:
            return ""
        worst = max(self.causes, key=lambda cause: self.causes[cause])
        return (
            f"{self.untrusted} of the latest {self.fixes} poses are not to be trusted, most of them for "
            f"{worst}; ~/status says more"
        )


class TrustHistory:
    """What spoke against the latest fixes; safe to use from any thread."""

    def __init__(self) -> None:
        """Start without any."""
        self._lock = threading.Lock()
        self._causes: deque[tuple[str, ...]] = deque(maxlen=REMEMBERED)

    def add(self, causes: tuple[str, ...]) -> None:
        """Add what speaks against a fix; nothing where it was trusted."""
        with self._lock:
            self._causes.append(causes)

    def clear(self) -> None:
        """Forget all fixes."""
        with self._lock:
            self._causes.clear()

    def summary(self) -> TrustSummary:
        """Return what became of the fixes that are remembered now."""
        with self._lock:
            fixes = list(self._causes)
        causes = Counter(cause for found in fixes for cause in found)
        return TrustSummary(len(fixes), sum(1 for found in fixes if found), dict(causes))
