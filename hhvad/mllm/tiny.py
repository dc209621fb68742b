"""The tiny InternVL: real classes, real files, about two million numbers.

`build` writes an untrained checkpoint folder in the layout of `OpenGVLab/InternVL3-8B-hf`; the
engine loads it by the code path of any other. `train` teaches it the lessons of hhvad.demo.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import InternVLConfig, InternVLForConditionalGeneration, PreTrainedTokenizerFast

from hhvad.demo.lessons import FRAMES, Lesson, corpus, lesson
from hhvad.files import write_json, write_tsv
from hhvad.mllm.capture import Engine
from hhvad.mllm.resize import resize

SIDE = 56
TOKENS_PER_FRAME = 4
# ChatML as InternVL3 has it; a video stands as <video>, which the processor expands to its frames.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'video' %}{{ '<video>\n' }}"
    "{% elif part['type'] == 'image' %}{{ '<IMG_CONTEXT>\n' }}"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
logger = logging.getLogger("hhvad")


def build(folder: str | Path, seed: int = 0) -> Path:
    """Write an untrained checkpoint: config, weights, tokenizer, chat template, preprocessor."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    words = _tokenizer()
    torch.manual_seed(seed)
    config = InternVLConfig(
        image_token_id=words.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=TOKENS_PER_FRAME,
        tie_word_embeddings=True,
        vision_config={
            "hidden_size": 96,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "intermediate_size": 288,
            "image_size": [SIDE, SIDE],
            "patch_size": [14, 14],
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(words),
            "hidden_size": 128,
            "intermediate_size": 288,
            "num_hidden_layers": 8,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 16,
            "max_position_embeddings": 2048,
            "tie_word_embeddings": True,
            "use_sliding_window": False,
        },
    )
    InternVLForConditionalGeneration(config).save_pretrained(folder)
    words.save_pretrained(folder)
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "GotOcr2ImageProcessor",
            "do_resize": True,
            "size": {"height": SIDE, "width": SIDE},
            "resample": 3,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225],
        },
    )
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE as Qwen's, with few merges: it reads any text."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<IMG_CONTEXT>", "<img>", "</img>"]
    trainer = trainers.BpeTrainer(
        vocab_size=768,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(corpus() * 2, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
    )


class _Teacher:
    """Turns lessons into batches: one prefix of frames, and questions blind to each other."""

    def __init__(self, folder: Path) -> None:
        engine = Engine.load(str(folder), dtype="float32", device="cpu")
        self.words: Any = engine.backbone.tokenizer
        mark = "\0"
        text = engine._text(mark, FRAMES, SIDE, SIDE)
        self.before, self.after = text.split(mark)
        self.prefix: list[int] = self._ids(self.before)
        config = json.loads((folder / "preprocessor_config.json").read_text())
        self.mean = torch.tensor(config["image_mean"])[:, None, None]
        self.std = torch.tensor(config["image_std"])[:, None, None]

    def _ids(self, text: str) -> list[int]:
        return list(self.words(text, add_special_tokens=False)["input_ids"])

    def batch(self, lessons: list[Lesson]) -> dict[str, torch.Tensor]:
        """Token ids, targets, positions [B, T], the mask [B, 1, T, T], pixels [B*F, 3, H, W]."""
        rows = [self._row(item) for item in lessons]
        length = max(len(ids) for ids, *_ in rows)
        size = (len(rows), length)
        ids = torch.full(size, self.words.pad_token_id)
        targets = torch.full(size, -100)
        positions = torch.zeros(size, dtype=torch.long)
        block = torch.full(size, -1)  # 0 the prefix, 1.. the questions, -1 padding
        for i, (tokens, goal, place, part) in enumerate(rows):
            n = len(tokens)
            ids[i, :n], targets[i, :n] = torch.tensor(tokens), torch.tensor(goal)
            positions[i, :n], block[i, :n] = torch.tensor(place), torch.tensor(part)
        causal = torch.ones(length, length).tril().bool()
        same = block[:, :, None] == block[:, None, :]
        seen = causal & (same | (block[:, None, :] == 0))
        mask = torch.zeros(len(rows), 1, length, length)
        mask.masked_fill_(~seen[:, None], torch.finfo(mask.dtype).min)
        clips = np.concatenate([item.clip for item in lessons])
        pixels = torch.from_numpy(clips).permute(0, 3, 1, 2).float() / 255
        return {
            "ids": ids,
            "targets": targets,
            "positions": positions,
            "mask": mask,
            "pixels": (pixels - self.mean) / self.std,
        }

    def _row(self, item: Lesson) -> tuple[list[int], list[int], list[int], list[int]]:
        start = len(self.prefix)
        ids, goal = list(self.prefix), [-100] * start
        place, part = list(range(start)), [0] * start
        for number, (question, reply) in enumerate(item.questions, start=1):
            asked = self._ids(question + self.after)
            said = [*self._ids(reply), self.words.eos_token_id]
            ids += asked + said
            goal += [-100] * len(asked) + said
            place += range(start, start + len(asked) + len(said))
            part += [number] * (len(asked) + len(said))
        return ids, goal, place, part


def _small(job: tuple[int, int]) -> Lesson:
    torch.set_num_threads(1)
    item = lesson(*job)
    return Lesson(resize(item.clip, (SIDE, SIDE)), item.questions)


def _lessons(seed: int, first: int, size: int) -> Iterator[list[Lesson]]:
    """Endless batches, drawn in a process beside the training."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        jobs = ((seed, index) for index in range(first, 10**9))
        # A bounded number ahead: the pool itself would draw without end.
        ahead = [pool.apply_async(_small, (next(jobs),)) for _ in range(4 * size)]
        while True:
            batch = [ahead.pop(0).get() for _ in range(size)]
            ahead += [pool.apply_async(_small, (next(jobs),)) for _ in range(size)]
            yield batch


def train(
    folder: str | Path,
    *,
    steps: int = 2000,
    batch: int = 24,
    rate: float = 2e-3,
    seed: int = 0,
    threads: int = 1,
    every: int = 50,
) -> None:
    """Train the checkpoint in `folder`, or go on where an interrupted training left off.

    Same seed, steps and threads: same weights. The state of the optimiser is kept in
    `folder`/../training until the end; the loss curve and the settings stay beside the weights.
    """
    folder = Path(folder)
    state = folder.parent / "training"
    if not (folder / "config.json").is_file():
        build(folder, seed)
    torch.set_num_threads(threads)
    teacher = _Teacher(folder)
    network = InternVLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    network.train()
    weights = dict(network.named_parameters())
    optimiser = torch.optim.AdamW(weights.values(), lr=rate, weight_decay=0.02, betas=(0.9, 0.98))
    first, losses = _resume(state, weights, optimiser)
    began = time.monotonic()
    for step, items in enumerate(_lessons(seed, first * batch, batch), start=first):
        if step >= steps:
            break
        warm = min(1.0, (step + 1) / 100)
        cosine = 0.5 * (1 + np.cos(np.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = rate * warm * max(0.02, cosine)
        loss = _loss(network, teacher.batch(items))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        if (step + 1) % every == 0 or step + 1 == steps:
            recent = float(np.mean(losses[-every:]))
            pace = (time.monotonic() - began) / (step + 1 - first)
            left = pace * (steps - step - 1) / 60
            logger.warning("step %d of %d: loss %.4f, %.0f min left", step + 1, steps, recent, left)
            _keep(state, weights, optimiser, losses)
            network.save_pretrained(folder)
            settings: dict[str, Any] = {
                "steps": step + 1,
                "batch": batch,
                "rate": rate,
                "seed": seed,
            }
            settings |= {
                "planned_steps": steps,
                "threads": threads,
                "torch": str(torch.__version__),
            }
            write_json(folder / "training.json", settings)
            rows = [
                (i + every, float(np.mean(losses[i : i + every])))
                for i in range(0, len(losses) - every + 1, every)
            ]
            write_tsv(folder / "loss.tsv", ("step", "loss"), rows)


def _loss(network: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Cross-entropy of the answers' tokens; logits are computed for those alone."""
    visual = network.model.get_image_features(batch["pixels"]).pooler_output
    embedded = network.get_input_embeddings()(batch["ids"])
    where = (batch["ids"] == network.config.image_token_id)[..., None].expand_as(embedded)
    embedded = embedded.masked_scatter(where, visual.reshape(-1, visual.shape[-1]))
    hidden = network.model.language_model(
        inputs_embeds=embedded,
        attention_mask=batch["mask"],
        position_ids=batch["positions"],
        use_cache=False,
    ).last_hidden_state
    targets = batch["targets"][:, 1:]
    answered = targets != -100
    logits = network.lm_head(hidden[:, :-1][answered])
    return torch.nn.functional.cross_entropy(logits, targets[answered])


def _keep(
    state: Path, weights: dict[str, Any], optimiser: torch.optim.Optimizer, losses: list[float]
) -> None:
    state.mkdir(parents=True, exist_ok=True)
    tensors = {f"weight.{name}": weight.detach().clone() for name, weight in weights.items()}
    for name, weight in weights.items():
        for key, value in optimiser.state[weight].items():
            tensors[f"{key}.{name}"] = value.detach().clone()
    save_file(tensors, state / "state.tmp")
    write_json(state / "losses.json", losses)
    (state / "state.tmp").replace(state / "state.safetensors")


def _resume(
    state: Path, weights: dict[str, Any], optimiser: torch.optim.Optimizer
) -> tuple[int, list[float]]:
    if not (state / "state.safetensors").is_file():
        return 0, []
    tensors = load_file(state / "state.safetensors")
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(tensors[f"weight.{name}"])
            optimiser.state[weight] = {
                key: tensors[f"{key}.{name}"] for key in ("step", "exp_avg", "exp_avg_sq")
            }
    losses = json.loads((state / "losses.json").read_text())
    return len(losses), losses
