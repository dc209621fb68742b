"""The tiny LLM: a real `LlamaForCausalLM` folder that sums up and rates captions of the demo."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from hhvad.demo import dialogues
from hhvad.mllm import course

TASKS = ("summarise", "rate")
# ChatML, as the tiny InternVL has it.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
logger = logging.getLogger("hhvad")


def build(folder: str | Path, seed: int = 0) -> Path:
    """Write an untrained checkpoint: config, weights, tokenizer, chat template."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    words = _tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE with few merges: it reads any text."""
    bpe = Tokenizer(models.BPE())
    # Digits stand alone, so that a number is always the same tokens.
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=768,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    # Twice, for a merge needs two occurrences; captions follow a space as often as a line start.
    known = dialogues.corpus()
    bpe.train_from_iterator([*known, *known, *(f" {text}" for text in known * 2)], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        model_max_length=1024,
    )


def train(
    folder: str | Path,
    work: str | Path,
    *,
    steps: int = 2000,
    batch: int = 20,
    rate: float = 2e-3,
    seed: int = 0,
    threads: int = 1,
    minutes: float | None = None,
    every: int = 50,
) -> bool:
    """Train a checkpoint into `folder`, or go on where an interrupted training left off.

    A step has `batch` new questions of each task; the loss is that of the answers' tokens.

    Same settings: same weights, interrupted or not (on one machine and version of torch). What an
    interrupted training needs lies in `work`. Returns whether it is finished: False where
    `minutes` are over before.
    """
    folder, work = Path(folder), Path(work)
    settings: dict[str, Any] = {
        "steps": steps,
        "batch": batch,
        "rate": rate,
        "seed": seed,
        "threads": threads,
        "torch": str(torch.__version__),
    }
    work.mkdir(parents=True, exist_ok=True)
    course.require_same_settings(work, settings)
    if not (work / "state.safetensors").is_file() or not (folder / "config.json").is_file():
        build(folder, seed)
    torch.set_num_threads(threads)
    network: Any = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)  # nosec B615
    network.train()
    words = AutoTokenizer.from_pretrained(folder)  # nosec B615
    weights = dict(network.named_parameters())
    optimiser = torch.optim.AdamW(weights.values(), lr=rate, weight_decay=0.02, betas=(0.9, 0.98))
    losses, before = course.resume(work, weights, optimiser)
    began = time.monotonic()
    for step in range(len(losses), steps):
        cosine = max(0.02, 0.5 * (1 + np.cos(np.pi * step / steps)))
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 100) * cosine
        parts = [
            _loss(network, words, [dialogues.dialogue(seed, n, task) for n in numbers])
            for task in TASKS
            for numbers in [range(step * batch, (step + 1) * batch)]
        ]
        optimiser.zero_grad()
        sum(parts).backward()  # type: ignore[union-attr]
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimiser.step()
        losses.append(tuple(float(part.detach()) for part in parts))
        spent = (time.monotonic() - began) / 60
        over = minutes is not None and spent >= minutes
        if (step + 1) % every == 0 or step + 1 == steps or over:
            course.keep(work, weights, optimiser, losses, before + spent)
            network.save_pretrained(folder)
            course.describe(folder, settings, TASKS, losses, before + spent, every)
            logger.warning(
                "step %d of %d, %.0f min: summarise %.4f, rate %.4f",
                *(step + 1, steps, before + spent, *losses[-1]),
            )
        if over:
            break
    return len(losses) == steps


def _loss(network: Any, words: Any, lessons: list[tuple[dialogues.Messages, str]]) -> torch.Tensor:
    """Cross-entropy of the tokens of the answers. Rows are padded on the right."""
    rows = [
        (
            words.apply_chat_template(asked, add_generation_prompt=True, tokenize=False),
            answer + words.eos_token,
        )
        for asked, answer in lessons
    ]
    asked = [words(question)["input_ids"] for question, _ in rows]
    said = [words(answer)["input_ids"] for _, answer in rows]
    length = max(len(a) + len(s) for a, s in zip(asked, said, strict=True))
    ids = torch.full((len(rows), length), words.pad_token_id)
    targets = torch.full((len(rows), length), -100)
    for row, (a, s) in enumerate(zip(asked, said, strict=True)):
        ids[row, : len(a) + len(s)] = torch.tensor(a + s)
        targets[row, len(a) : len(a) + len(s)] = torch.tensor(s)
    wanted = targets[:, 1:] != -100
    # Padding follows the answer, and attention looks back only: no mask is needed.
    states = network.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1][wanted]
    return torch.nn.functional.cross_entropy(network.lm_head(states), targets[:, 1:][wanted])
