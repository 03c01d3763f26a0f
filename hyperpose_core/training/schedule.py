"""Learning-rate schedules as functions of the (fractional) epoch, so that resuming needs no state."""

from __future__ import annotations

import math

from hyperpose_core.training.recipe import Schedule


def learning_rate_factor(schedule: Schedule, epoch: float, epochs: int) -> float:
    """Return what the recipe's learning rate is multiplied by.

    Args:
        schedule: the recipe's schedule.
        epoch: how many epochs have passed, fractions included.
        epochs: how many there will be.
    """
    if schedule.kind == "step":
        return float(schedule.factor ** (math.floor(epoch) // schedule.step_epochs))
    progress = epoch / epochs
    if progress < schedule.warm_up:
        return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * progress / schedule.warm_up))
    return 0.5 * (1 + math.cos(math.pi * (progress - schedule.warm_up) / (1 - schedule.warm_up)))
