"""What a decoder needs to speak: its output head, where it ends, and its words as plain text."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor, nn

from hhvad.errors import ModelError
from hhvad.mllm.backbones.backbone import read_object


@dataclass(frozen=True)
class Answer:
    """What a model wrote: its text, its number of tokens, and whether the limit ended it."""

    text: str
    tokens: int
    cut: bool


def output_head(folder: Path, config: Any, decoder: nn.Module) -> Tensor:
    """The weight [vocabulary, hidden] of the output head, where and as what the decoder is.

    It is the checkpoint's `lm_head.weight`; where that is absent and the config ties them, the
    input embeddings'. Raises ModelError.
    """
    embeddings: Tensor = decoder.get_input_embeddings().weight  # type: ignore[operator]
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                if name.endswith("lm_head.weight"):
                    head: Tensor = file.get_tensor(name)
                    return head.to(embeddings.device, embeddings.dtype)
    configs = (config, config.get_text_config())
    if any(getattr(each, "tie_word_embeddings", False) for each in configs):
        return embeddings
    raise ModelError(f"{folder}: the weights lack 'lm_head.weight': this model cannot write texts")


def end_tokens(folder: Path, tokenizer: Any) -> set[int]:
    """The tokens that end an answer: generation_config.json's, and the tokenizer's own."""
    path = folder / "generation_config.json"
    given = read_object(path).get("eos_token_id") if path.is_file() else None
    listed = given if isinstance(given, list) else [given]
    return {token for token in (*listed, tokenizer.eos_token_id) if token is not None}


def token_ids_of(tokenizer: Any, answer: str) -> list[int]:
    """The tokens of a given answer, special ones as characters; ModelError where it has none."""
    found = tokenizer(answer, add_special_tokens=False, split_special_tokens=True)
    ids: list[int] = found["input_ids"]
    if not ids:
        raise ModelError(f"answer {answer!r} has no token: give a word")
    return ids


def log_probability(hidden: Tensor, head: Tensor, ids: Tensor) -> Tensor:
    """The log-probability [rows] of tokens [T], each after the hidden state that comes before it.

    hidden: [rows, T, hidden]; head: as of `output_head`. The sum over the tokens, in float64.
    """
    logs = nn.functional.linear(hidden, head).double().log_softmax(dim=-1)
    return logs.gather(-1, ids[None, :, None].expand(len(hidden), -1, 1))[..., 0].sum(dim=1)


def plain(text: str) -> str:
    """A model's text without control characters but newlines and tabs, and without outer space."""
    kept = (c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))
    return "".join(kept).strip()
