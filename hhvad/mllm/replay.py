"""Work of many small kernels, launched once and repeated.

A pass over a few tokens takes a GPU less time than Python takes to launch its thousand kernels. A
CUDA graph records them and launches all with one call. Measured in benchmarks/capture.md.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch
from torch import Tensor


class Replay:
    """Work that reads and writes the same memory at every call, whatever is in it.

    The first call runs it; on a GPU the second one records it and every later one replays the
    record: the same kernels, hence the same bits. What it returns lies at one place, and the next
    call overwrites it. The work may not wait for the device.
    """

    def __init__(self, device: torch.device) -> None:
        self._records = device.type == "cuda"
        self._warm = False  # the first call loads kernels and makes workspaces
        self._graph: torch.cuda.CUDAGraph | None = None
        self._result: Tensor | None = None

    def __call__(self, work: Callable[[], Tensor]) -> Tensor:
        """What `work` returns; the same work at every call."""
        if not self._records or not self._warm:
            self._warm = True
            return work()
        if self._graph is None or self._result is None:
            self._graph, self._result = _record(work)
        self._graph.replay()
        return self._result


def _record(work: Callable[[], Tensor]) -> tuple[torch.cuda.CUDAGraph, Tensor]:
    graph = torch.cuda.CUDAGraph()
    collects = gc.isenabled()
    gc.disable()  # to free an older graph meanwhile would spoil the record
    try:
        # Other threads go on with their own calls: one reads the next frames.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            result = work()
    finally:
        if collects:
            gc.enable()
    return graph, result
