"""Chat messages to text, by a text decoder: one of its own, or that of a multimodal model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jinja2 import TemplateError
from torch import Tensor, nn
from transformers import DynamicCache

from hhvad.errors import ModelError
from hhvad.mllm.head import Answer, plain
from hhvad.mllm.sample import Choice, Sampling

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
    rows = [token_ids(tokenizer, messages) for messages in conversations]
    for number, ids in enumerate(rows):
        if context is not None and len(ids) + max_tokens > context:
            raise ModelError(
                f"request {number} takes {len(ids)} tokens and {max_tokens} for its answer, the "
                f"model's context holds {context}: shorten it, or lower the limit of the answer"
            )
    groups: dict[int, list[int]] = {}
    for number, ids in enumerate(rows):
        groups.setdefault(len(ids), []).append(number)
    answers: dict[int, Answer] = {}
    for group in groups.values():
        for start in range(0, len(group), batch_size):
            batch = group[start : start + batch_size]
            choice = Choice(sampling, batch)
            written = _write(decoder, head, [rows[n] for n in batch], ends, max_tokens, choice)
            for number, ids in zip(batch, written, strict=True):
                done = ids[-1] in ends
                said = plain(tokenizer.decode(ids, skip_special_tokens=True))
                answers[number] = Answer(said, len(ids) - done, cut=not done)
            if progress is not None:
                progress(len(answers), len(rows))
    return [answers[number] for number in range(len(rows))]


def _write(
    decoder: nn.Module,
    head: Tensor,
    rows: list[list[int]],
    ends: set[int],
    max_tokens: int,
    choice: Choice,
) -> list[list[int]]:
    """The tokens of each row's answer, its end token included where it came to one."""
    cache = DynamicCache()
    ids = torch.tensor(rows, device=head.device)
    answers: list[list[int]] = [[] for _ in rows]
    with torch.inference_mode():
        for _ in range(max_tokens):
            out = decoder(input_ids=ids, past_key_values=cache, use_cache=True)
            ids = choice(nn.functional.linear(out.last_hidden_state[:, -1], head))[:, None]
            for answer, token in zip(answers, ids[:, 0].tolist(), strict=True):
                if not answer or answer[-1] not in ends:
                    answer.append(token)
            if all(answer[-1] in ends for answer in answers):
                break
    return answers
