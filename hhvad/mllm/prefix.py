"""The key-value cache of what all prompts share: written by one pass, read by many."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from hhvad.mllm.hooks import PassDone


class _PrefixLayer(CacheLayerMixin):  # type: ignore[misc]
    """Keys and values [batch, kv heads, prefix + room, head_dim] of one decoder layer.

    The first update stores the prefix. Every later one writes a suffix behind it and returns views
    of both, without copying the prefix; the next suffix overwrites it.
    """

    is_sliding = False

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.length = 0
        self.place: Tensor | None = None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        batch, heads, length, _ = key_states.shape
        self.keys = key_states.new_empty(batch, heads, length + self.room, key_states.shape[-1])
        self.values = value_states.new_empty(
            batch, heads, length + self.room, value_states.shape[-1]
        )
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        new = key_states.shape[-2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if self.place is not None:
            self.keys.index_copy_(2, self.place, key_states)
            self.values.index_copy_(2, self.place, value_states)
            return self.keys, self.values
        end = self.length + new
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        if not self.length:
            self.length = new
            return key_states, value_states
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return -1


class PrefixCache(Cache):  # type: ignore[misc]
    """A cache of `layers` decoder layers with room for suffixes of up to `room` tokens.

    The pass that fills it is over as soon as the last layer's keys and values are stored: PassDone
    ends it there, before that layer's attention, since no suffix reads anything else of it.
    """

    def __init__(self, layers: int, room: int) -> None:
        super().__init__(layers=[_PrefixLayer(room) for _ in range(layers)])
        self.filled = False

    def empty(self) -> None:
        """Forget the prefix: the next pass stores another one of the same shape in its memory."""
        self.filled = False
        for layer in self.layers:
            layer.length = 0

    def keep(self, count: int) -> None:
        """Make the last `count` tokens part of the prefix: what comes next stands behind them.

        A negative count takes as many away again.
        """
        for layer in self.layers:
            layer.length += count

    def one_by_one(self) -> Tensor:
        """From now on take one token at a time, at the place [1] in the cache that is returned.

        Whoever gives a token moves the place behind it, and masks what lies there: every update
        returns all keys and values, so that shapes and memory stay the same from token to token.
        """
        place = torch.tensor([self.layers[0].length], device=self.layers[0].keys.device)
        for layer in self.layers:
            layer.keys[:, :, layer.length :] = 0  # a mask does not hide NaN
            layer.values[:, :, layer.length :] = 0
            layer.place = place
        return place

    @property
    def size(self) -> int:
        """How many tokens it holds at most."""
        size: int = self.layers[0].keys.shape[-2]
        return size

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Store a layer's new keys and values; returns those to attend to."""
        layer = self.layers[layer_idx]
        states: tuple[Tensor, Tensor] = layer.update(key_states, value_states)
        if not self.filled and layer_idx == len(self.layers) - 1:
            self.filled = True
            raise PassDone
        return states
