"""Several processes as one trainer, started by `torchrun`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those that train together.

    Attributes:
        rank: its number; 0 writes files and reports.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: torch.device) -> ProcessGroup:
        """Meet the processes that `torchrun` started, or be alone where it didn't start this one."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(torch.distributed.get_rank(), size)

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def share(self, batch: Sequence[_Item]) -> Sequence[_Item]:
        """Return this process's part of a batch.

        Where there are fewer samples than processes, those left over take the first one, too, at no weight: a
        step that one of them left out would keep the others waiting for its gradients.
        """
        return batch[self.rank :: self.size] or batch[:1]

    def weight(self, batch: Sequence[object]) -> float:
        """Return the factor that makes the average of all processes' mean losses the batch's mean."""
        return len(batch[self.rank :: self.size]) * self.size / len(batch)

    def synchronised(self, module: nn.Module) -> nn.Module:
        """Wrap a module so that gradients are averaged over the processes; alone, return it as it is."""
        return module if self.size == 1 else DistributedDataParallel(module)

    def all_agree(self, condition: bool, device: torch.device) -> bool:
        """Return whether the condition holds in every process."""
        if self.size == 1:
            return condition
        flag = torch.tensor(int(condition), device=device)
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MIN)
        return bool(flag)

    def first_before_others(self, action: Callable[[], _Result]) -> _Result:
        """Do something in the first process, then in the others, which find the files that it wrote."""
        if self.is_first:
            result = action()
        self.wait()
        return result if self.is_first else action()

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            torch.distributed.barrier()


def local_device(name: str) -> str:
    """Give each of torchrun's processes a GPU of its own where "cuda" or "auto" was asked for."""
    rank = os.environ.get("LOCAL_RANK")
    if rank is not None and name in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{rank}"
    return name
