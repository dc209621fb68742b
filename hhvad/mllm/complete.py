"""Chat messages to text, by a text decoder: one of its own, or that of a multimodal model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from jinja2 import TemplateError
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from hhvad.errors import ModelError
from hhvad.mllm.head import Answer, log_probability, plain, token_ids_of
from hhvad.mllm.hooks import PassDone
from hhvad.mllm.prefix import PrefixCache
from hhvad.mllm.sample import Choice, Sampling
from hhvad.mllm.write import Step, write

Messages = Sequence[dict[str, str]]  # role and content of each


def token_ids(tokenizer: Any, messages: Messages) -> list[int]:
    """The tokens of a conversation, up to where the answer begins.

    What the messages hold is data: control characters go, and a special token in it is read as the
    characters that it is written with. A system message goes in front of the first user's where the
    template knows no such role. Raises ModelError.
    """
    said = [{**each, "content": plain(each["content"])} for each in messages]
    text = _render(tokenizer, said)
    known = tokenizer.get_added_vocab()
    if not any(token in each["content"] for token in known for each in said):
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids
    marks = [f"\ue000{number}\ue001" for number in range(len(said))]
    rest = _render(tokenizer, [{**s, "content": m} for s, m in zip(said, marks, strict=True)])
    ids = []
    for mark, each in zip(marks, said, strict=True):
        before, _, rest = rest.partition(mark)
        ids += tokenizer(before, add_special_tokens=False)["input_ids"]
        ids += tokenizer(each["content"], add_special_tokens=False, split_special_tokens=True)[
            "input_ids"
        ]
    return ids + list(tokenizer(rest, add_special_tokens=False)["input_ids"])


def _render(tokenizer: Any, messages: Messages) -> str:
    tries = [list(messages)]
    if len(messages) > 1 and messages[0]["role"] == "system":
        first, user, *others = messages
        tries.append([{**user, "content": f"{first['content']}\n{user['content']}"}, *others])
    for conversation in tries:
        parts = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in conversation]
        for form in (conversation, parts):
            try:
                text: str = tokenizer.apply_chat_template(
                    form, tokenize=False, add_generation_prompt=True, enable_thinking=False
                )
            except (TemplateError, TypeError):
                continue
            except ValueError as error:
                raise ModelError(f"the tokenizer has no chat template: {error}") from error
            if all(text.count(each["content"].strip()) for each in messages):
                return text
    raise ModelError("the chat template does not take these messages")


def complete(
    decoder: nn.Module,
    head: Tensor,
    tokenizer: Any,
    conversations: Sequence[Messages],
    *,
    ends: set[int],
    max_tokens: int,
    batch_size: int,
    context: int | None,
    sampling: Sampling | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Answer]:
    """The answer to each conversation, greedily, or drawn where `sampling` is given.

    Batches hold conversations of the same number of tokens, in their order: without padding, an
    answer depends on this list alone. Raises ModelError where one does not fit into the context.
    """
    rows = _fitting(tokenizer, conversations, max_tokens, context)
    answers: dict[int, Answer] = {}
    for batch in _batches(rows, batch_size):
        choice = Choice(sampling, batch)
        written = _write(decoder, head, [rows[n] for n in batch], ends, max_tokens, choice)
        for number, ids in zip(batch, written, strict=True):
            done = ids[-1] in ends
            said = plain(tokenizer.decode(ids, skip_special_tokens=True))
            answers[number] = Answer(said, len(ids) - done, cut=not done)
        if progress is not None:
            progress(len(answers), len(rows))
    return [answers[number] for number in range(len(rows))]


def choose(
    decoder: nn.Module,
    head: Tensor,
    tokenizer: Any,
    conversations: Sequence[Messages],
    choices: Sequence[str],
    *,
    batch_size: int,
    context: int | None,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float64]:
    """How likely each of `choices` is as the beginning of the answer to each conversation.

    Log-probabilities [N, A], sums over a choice's tokens. Batches are those of `complete`. Raises
    ModelError where a conversation with a choice does not fit into the context, and for a choice
    without a token.
    """
    said = [torch.tensor(token_ids_of(tokenizer, text), device=head.device) for text in choices]
    rows = _fitting(tokenizer, conversations, max(map(len, said), default=0), context)
    found = np.empty((len(rows), len(said)))
    done = 0
    for batch in _batches(rows, batch_size):
        ids = torch.tensor([rows[n] for n in batch], device=head.device)
        found[batch] = _weigh(decoder, head, ids, said).cpu().numpy()
        done += len(batch)
        if progress is not None:
            progress(done, len(rows))
    return found


def _fitting(
    tokenizer: Any, conversations: Sequence[Messages], room: int, context: int | None
) -> list[list[int]]:
    """The tokens of each conversation; ModelError where the context lacks room for the answer."""
    rows = [token_ids(tokenizer, messages) for messages in conversations]
    for number, ids in enumerate(rows):
        if context is not None and len(ids) + room > context:
            raise ModelError(
                f"request {number} takes {len(ids)} tokens and {room} for its answer, the "
                f"model's context holds {context}: shorten it, or lower the limit of the answer"
            )
    return rows


def _batches(rows: Sequence[Sequence[int]], batch_size: int) -> Iterator[list[int]]:
    """The numbers of rows of the same length, in their order, batch_size at a time."""
    groups: dict[int, list[int]] = {}
    for number, ids in enumerate(rows):
        groups.setdefault(len(ids), []).append(number)
    for group in groups.values():
        for start in range(0, len(group), batch_size):
            yield group[start : start + batch_size]


def _write(
    decoder: nn.Module,
    head: Tensor,
    rows: list[list[int]],
    ends: set[int],
    max_tokens: int,
    choice: Choice,
) -> list[list[int]]:
    """The tokens of each row's answer, its end token included where it came to one."""
    ids = torch.tensor(rows, device=head.device)
    with torch.inference_mode():
        return write(_step(decoder, head, ids, max_tokens), ids[:, -1], choice, ends, max_tokens)


def _step(
    decoder: nn.Module, head: Tensor, ids: Tensor, max_tokens: int
) -> Callable[[Tensor], Tensor]:
    """The logits that follow one token more of each row, behind token ids [rows, T] but the last.

    A decoder with rotary positions whose layers all attend to everything keeps its keys and values
    where a step can be replayed; any other one has a cache of its own kind.
    """
    before, config = ids.shape[1] - 1, decoder.config
    layers = DynamicCache(config=config).layers
    is_rotary = getattr(config, "rope_parameters", None) is not None
    if before and is_rotary and layers and all(type(each) is DynamicLayer for each in layers):
        prefix = PrefixCache(len(layers), max_tokens)
        with suppress(PassDone):
            decoder(input_ids=ids[:, :-1], past_key_values=prefix, use_cache=True)
        return Step(decoder, head, prefix, len(ids), torch.tensor([[before]], device=ids.device))
    cache = DynamicCache()
    if before:
        decoder(input_ids=ids[:, :-1], past_key_values=cache, use_cache=True)

    def step(tokens: Tensor) -> Tensor:
        out = decoder(input_ids=tokens[:, None], past_key_values=cache, use_cache=True)
        return nn.functional.linear(out.last_hidden_state[:, -1], head)

    return step


def _weigh(decoder: nn.Module, head: Tensor, ids: Tensor, choices: Sequence[Tensor]) -> Tensor:
    """The log-probability [rows, A] of each choice (token ids) behind token ids [rows, T]."""

    def run(ids: Tensor, cache: DynamicCache) -> Tensor:
        hidden: Tensor = decoder(
            input_ids=ids, past_key_values=cache, use_cache=True
        ).last_hidden_state
        return hidden

    values = []
    with torch.inference_mode():
        cache = DynamicCache()
        asked = run(ids, cache)[:, -1:]
        for choice in choices:
            hidden = asked
            if len(choice) > 1:  # a copy, because not every kind of cache can be shortened again
                behind = run(choice[:-1].expand(len(ids), -1), deepcopy(cache))
                hidden = torch.cat([asked, behind], dim=1)
            values.append(log_probability(hidden, head, choice))
    return torch.stack(values, dim=1)
