"""Tapping a network: hooks that come and go with a `with` block."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from hhvad.errors import ModelError


class PassDone(Exception):
    """Raised inside a forward pass when nothing after this point will be read."""


class Tap:
    """What flows into some modules at the last position, while the block lasts.

        with Tap(decoder, ["layers.3.self_attn.o_proj"]) as tap:
            decoder(inputs_embeds=...)
        tap.values[0]  # [batch, features]

    `names` are module names below `root`, in the order in which the forward pass reaches them.
    With `stop` the pass ends before the last of them runs; the block swallows the exception that
    ends it. Values are copies: a tap keeps no activations of the whole sequence alive.
    Raises ModelError, with near names, where a name is absent; then no hook is left behind.
    """

    def __init__(self, root: nn.Module, names: Sequence[str], *, stop: bool = False) -> None:
        self.root = root
        self.names = names
        self.stop = stop
        self.values: list[Tensor] = []
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Tap:
        modules = dict(self.root.named_modules())
        for name in self.names:
            if name not in modules:
                near = difflib.get_close_matches(name, modules, n=3, cutoff=0.4)
                raise ModelError(f"there is no module {name!r} to tap; near names: {near}")
        self.values = []
        for name in self.names:
            self._handles.append(modules[name].register_forward_pre_hook(self._keep))
        return self

    def _keep(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self.values.append(args[0][:, -1].clone())
        if self.stop and len(self.values) == len(self.names):
            raise PassDone

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        return kind is PassDone
