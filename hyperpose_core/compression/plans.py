"""What to do to which layers, from the gentlest plan to the one that leaves least."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hyperpose_core.errors import HyperPoseError

LOW_RANK = "low_rank"
METHODS = ("bfloat16", "int8", LOW_RANK, f"{LOW_RANK}+bfloat16", f"{LOW_RANK}+int8")

DEFAULT_ENERGY = 0.99

_ENERGIES = (0.999, 0.99, 0.95, 0.9)
"""What is tried, in this order, where a budget asks for factors and no energy was given."""

_STORAGES = {
    # method: storages of the generators (or their factors), other linear layers and convolutions
    "bfloat16": (("bfloat16", "bfloat16", "bfloat16"),),
    "int8": (("int8", "bfloat16", "bfloat16"), ("int8", "int8", "bfloat16"), ("int8", "int8", "int8")),
    LOW_RANK: (("float32", "float32", "float32"),),
    f"{LOW_RANK}+bfloat16": (("bfloat16", "bfloat16", "bfloat16"),),
}
_STORAGES[f"{LOW_RANK}+int8"] = _STORAGES["int8"]

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


@dataclass(frozen=True)
class Plan:
    """What to do to a network.

    Attributes:
        method: one of `METHODS`.
        generators: storage of the hypernetworks' generators, one of `compressed.STORAGES`.
        linears: storage of the other linear layers.
        convolutions: storage of the convolutions.
        energy: split each generator into two factors that keep this share of its squared singular values;
            None leaves it whole.
    """

    method: str
    generators: str
    linears: str
    convolutions: str
    energy: float | None = None


def plans_of(method: str, energy: float) -> tuple[Plan, ...]:
    """Give a method's plans, each smaller and less gentle than the one before; the first is the method's own.

    Raises:
        HyperPoseError: the method is unknown or the energy is none.
    """
    if method not in METHODS:
        raise HyperPoseError(f"compression method {method!r} is unknown; use one of {', '.join(METHODS)}")
    if not 0 < energy <= 1:
        raise HyperPoseError(f"energy {energy} is not a share: give more than 0 and at most 1")
    kept = energy if method.startswith(LOW_RANK) else None
    return tuple(Plan(method, *storages, energy=kept) for storages in _STORAGES[method])


def all_plans() -> tuple[Plan, ...]:
    """Give every plan that a budget may lead to, the gentlest first."""
    smallest = [plans_of(f"{LOW_RANK}+int8", energy)[-1] for energy in _ENERGIES]
    return (*plans_of("bfloat16", DEFAULT_ENERGY), *plans_of("int8", DEFAULT_ENERGY), *smallest)


def parse_size(text: str) -> int:
    """Read a size such as "150MB" (10^6 bytes each), "143MiB" (2^20), "0.5 GB" or "150000000".

    Raises:
        HyperPoseError: the text is no size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip(), flags=re.IGNORECASE)
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None or float(match[1]) == 0:
        raise HyperPoseError(f"{text!r} is no size: write it like 150MB, 143MiB, 0.5GB or 150000000")
    return int(float(match[1]) * unit)
