"""Writing an answer: one token more for each row, until all have come to an end."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hhvad.mllm.prefix import PrefixCache
from hhvad.mllm.replay import Replay


class Step:
    """One token more for each row, behind what `cache` holds: its logits.

    position: that of the next token, [1, 1] or, multimodal rotary, [3, 1]; head [vocabulary,
    hidden]. Every step is the same work on the same memory, so that it can be replayed.
    """

    def __init__(
        self, decoder: nn.Module, head: Tensor, cache: PrefixCache, rows: int, position: Tensor
    ) -> None:
        self.decoder = decoder
        self.head = head
        self.cache = cache
        self.place = cache.one_by_one()
        self.all_places = torch.arange(cache.size, device=head.device)
        self.position = position.clone() if len(position) == 1 else position[:, None].clone()
        self.tokens = torch.zeros(rows, 1, dtype=torch.long, device=head.device)
        self._replay = Replay(head.device)

    def __call__(self, tokens: Tensor) -> Tensor:
        """The logits [rows, vocabulary] of what comes after `tokens` [rows]."""
        self.tokens.copy_(tokens[:, None])
        return self._replay(self._run)

    def _run(self) -> Tensor:
        hidden = self.decoder(
            inputs_embeds=self.decoder.get_input_embeddings()(self.tokens),  # type: ignore[operator]
            position_ids=self.position,
            attention_mask=(self.all_places <= self.place)[None, None, None],
            past_key_values=self.cache,
            use_cache=True,
        ).last_hidden_state[:, -1]
        self.place.add_(1)
        self.position.add_(1)
        return nn.functional.linear(hidden, self.head)


def write(
    step: Callable[[Tensor], Tensor],
    last: Tensor,
    choice: Callable[[Tensor], Tensor],
    ends: set[int],
    max_tokens: int,
) -> list[list[int]]:
    """The tokens of each row's answer, its end token included where it came to one.

    step: the logits that follow a token of each row; last: the tokens [rows] before the answers;
    choice: the next token of each row [rows] from its logits.
    """
    answers: list[list[int]] = [[] for _ in last]
    tokens = last
    for _ in range(max_tokens):
        tokens = choice(step(tokens))
        for answer, token in zip(answers, tokens.tolist(), strict=True):
            if not answer or answer[-1] not in ends:
                answer.append(token)
        if all(answer[-1] in ends for answer in answers):
            break
    return answers
