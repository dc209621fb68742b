"""The tiny InternVL: real classes, real files, about two million numbers.

`build` writes an untrained checkpoint folder in the layout of `OpenGVLab/InternVL3-8B-hf`; the
engine loads it by the code path of any other. `train` teaches it the lessons of hhvad.demo.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import InternVLConfig, InternVLForConditionalGeneration, PreTrainedTokenizerFast

from hhvad.demo.lessons import FRAMES, SHOWN, Lesson, clip, corpus, lesson, questions, shown
from hhvad.files import read_json, write_json
from hhvad.media.resize import with_torch
from hhvad.mllm import course
from hhvad.mllm.engine import Engine

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
        downsample_ratio=0.25,
        tie_word_embeddings=True,
        vision_config={
            "hidden_size": 96,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "intermediate_size": 256,
            "image_size": [SIDE, SIDE],
            "patch_size": [7, 7],
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

    def batch(
        self, clips: NDArray[np.uint8], asked: list[list[tuple[str, str]]]
    ) -> dict[str, torch.Tensor]:
        """Ids, targets, positions, asking [B, T], mask [B, 1, T, T], pixels [B*F, 3, H, W]."""
        rows = [self._row(questions) for questions in asked]
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
        pixels = self.pixels(clips)
        return {
            "ids": ids,
            "targets": targets,
            "positions": positions,
            "mask": mask,
            "asking": block > 0,
            "pixels": pixels,
        }

    def pixels(self, clips: NDArray[np.uint8]) -> torch.Tensor:
        """Clips uint8 [B, F, H, W, 3] as the vision encoder wants them: [B*F, 3, H, W]."""
        frames = torch.from_numpy(clips).flatten(0, 1).permute(0, 3, 1, 2).float() / 255
        return (frames - self.mean) / self.std

    def _row(
        self, asked: list[tuple[str, str]]
    ) -> tuple[list[int], list[int], list[int], list[int]]:
        start = len(self.prefix)
        ids, goal = list(self.prefix), [-100] * start
        place, part = list(range(start)), [0] * start
        for number, (question, reply) in enumerate(asked, start=1):
            prompt = self._ids(question + self.after)
            said = [*self._ids(reply), self.words.eos_token_id]
            ids += prompt + said
            goal += [-100] * len(prompt) + said
            place += range(start, start + len(prompt) + len(said))
            part += [number] * (len(prompt) + len(said))
        return ids, goal, place, part


class _Course:
    """Clips of the first `size` lessons, drawn by a process beside the training, kept in a file.

    Training takes them at random from those drawn by then, with new wordings each time. How many
    that are depends on the step alone, so that an interrupted training goes on as it would have.
    """

    FIRST, EACH = 1000, 20  # lessons to begin with, and more a step

    def __init__(self, folder: Path, seed: int, size: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.seed, self.size = seed, size
        self.count = folder / "drawn.json"
        drawn = read_json(self.count) if self.count.is_file() else 0
        shape = (size, FRAMES, SIDE, SIDE, 3)
        file = folder / "clips.npy"
        self.clips: Any = np.lib.format.open_memmap(
            file, mode="r+" if drawn else "w+", dtype=np.uint8, shape=shape
        )
        self.drawn: int = drawn
        self.pool = multiprocessing.get_context("spawn").Pool(1) if drawn < size else None
        jobs = [(seed, index) for index in range(drawn, size)]
        self.coming = self.pool.imap(_small, jobs, chunksize=8) if self.pool else iter(())

    def __enter__(self) -> _Course:
        return self

    def __exit__(self, *error: object) -> None:
        if self.pool:
            self.pool.terminate()
            self.pool.join()

    def take(
        self, step: int, batch: int
    ) -> tuple[NDArray[np.uint8], list[Lesson], list[list[tuple[str, str]]]]:
        """The clips, lessons and questions of a step."""
        known = min(self.size, self.FIRST + self.EACH * step)
        while self.drawn < known:
            self.clips[self.drawn] = next(self.coming)
            self.drawn += 1
        rng = np.random.default_rng([self.seed, 2000, step])
        picked = np.sort(rng.choice(known, batch, replace=False))
        items = [lesson(self.seed, int(index)) for index in picked]
        return self.clips[picked], items, [questions(item, rng) for item in items]

    def keep(self) -> None:
        """Note what is drawn, for a training that goes on later."""
        self.clips.flush()
        write_json(self.count, self.drawn)


def _small(job: tuple[int, int]) -> NDArray[np.uint8]:
    return with_torch(clip(lesson(*job)), (SIDE, SIDE))


def train(
    folder: str | Path,
    work: str | Path,
    *,
    steps: int = 3100,
    look: int = 800,
    quiet: int = 1700,
    batch: int = 24,
    lessons: int = 24000,
    rate: float = 2e-3,
    seed: int = 0,
    threads: int = 1,
    minutes: float | None = None,
    every: int = 50,
) -> bool:
    """Train a checkpoint into `folder`, or go on where an interrupted training left off.

    For the first `look` steps the vision encoder alone learns to tell what a frame shows; then the
    whole model learns to answer, while the encoder goes on with that: without it, hundreds of
    steps pass before the decoder finds that there is anything to look at. From step `quiet` on,
    each head is to rest on the first token unless it helps to answer, as most heads of large models
    do: what the model knows is then in some heads and not in all.

    Same settings: same weights, interrupted or not (on one machine and version of torch). What an
    interrupted training needs lies in `work`; the loss curve and the settings stay beside the
    weights. Returns whether it is finished: False where `minutes` are over before.
    """
    folder, work = Path(folder), Path(work)
    settings: dict[str, Any] = {
        "steps": steps,
        "look": look,
        "quiet": quiet,
        "batch": batch,
        "lessons": lessons,
        "rate": rate,
        "seed": seed,
        "threads": threads,
        "torch": str(torch.__version__),
    }
    course.require_same_settings(work, settings)
    if not (work / "state.safetensors").is_file() or not (folder / "config.json").is_file():
        build(folder, seed)
    torch.set_num_threads(threads)
    teacher = _Teacher(folder)
    network = InternVLForConditionalGeneration.from_pretrained(  # nosec B615
        folder, dtype=torch.float32
    )
    network.train()
    torch.manual_seed(seed)
    watcher = torch.nn.Linear(network.config.text_config.hidden_size, len(SHOWN))
    weights = dict(network.named_parameters())
    weights |= {f"watcher.{name}": value for name, value in watcher.named_parameters()}
    optimiser = torch.optim.AdamW(weights.values(), lr=rate, weight_decay=0.02, betas=(0.9, 0.98))
    losses, before = course.resume(work, weights, optimiser)
    began = time.monotonic()
    with _Course(work, seed, lessons) as clips_drawn:
        for step in range(len(losses), steps):
            since = step if step < look else step - look
            cosine = max(0.02, 0.5 * (1 + np.cos(np.pi * step / steps)))
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1.0, (since + 1) / 100) * cosine
            clips, items, asked = clips_drawn.take(step, batch)
            truth = torch.from_numpy(np.concatenate([shown(item) for item in items]))
            if step < look:
                visual = network.model.get_image_features(teacher.pixels(clips)).pooler_output
                loss = told = _watched(watcher, visual, truth)
            else:
                sink = 0.2 * min(1.0, max(0.0, (step - quiet) / 200))
                answered, visual, busy = _answered(network, teacher.batch(clips, asked), sink > 0)
                told = _watched(watcher, visual, truth)
                loss = answered + 0.1 * told + sink * busy
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
            optimiser.step()
            losses.append((float(told.detach()), None if step < look else float(answered.detach())))
            spent = (time.monotonic() - began) / 60
            over = minutes is not None and spent >= minutes
            if (step + 1) % every == 0 or step + 1 == steps or over:
                clips_drawn.keep()
                course.keep(work, weights, optimiser, losses, before + spent)
                network.save_pretrained(folder)
                columns = ("shown", "answers")
                course.describe(folder, settings, columns, losses, before + spent, every)
                logger.warning(
                    "step %d of %d, %.0f min: shown %.3f%s",
                    *(step + 1, steps, before + spent, losses[-1][0]),
                    "" if step < look else f", answers {losses[-1][1]:.3f}",
                )
            if over:
                break
    return len(losses) == steps


def _watched(watcher: torch.nn.Linear, visual: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of what each frame shows, summed over SHOWN, told from its mean token."""
    told = watcher(visual.reshape(len(truth), -1, visual.shape[-1]).mean(dim=1))
    loss = torch.nn.functional.binary_cross_entropy_with_logits(told, truth, reduction="sum")
    return loss / len(truth)


def _answered(
    network: Any, batch: dict[str, torch.Tensor], rested: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cross-entropy of the answers' tokens, logits for those alone; the visual tokens; and if
    `rested`, how much attention questions and answers pay, all heads alike, to more than the first
    token, which is the same in every prompt and tells nothing."""
    visual = network.model.get_image_features(batch["pixels"]).pooler_output
    embedded = network.get_input_embeddings()(batch["ids"])
    where = (batch["ids"] == network.config.image_token_id)[..., None].expand_as(embedded)
    embedded = embedded.masked_scatter(where, visual.reshape(-1, visual.shape[-1]))
    network.model.language_model.set_attn_implementation("eager" if rested else "sdpa")
    out = network.model.language_model(
        inputs_embeds=embedded,
        attention_mask=batch["mask"],
        position_ids=batch["positions"],
        use_cache=False,
        output_attentions=rested,
    )
    targets = batch["targets"][:, 1:]
    answered = targets != -100
    logits = network.lm_head(out.last_hidden_state[:, :-1][answered])
    loss = torch.nn.functional.cross_entropy(logits, targets[answered])
    busy = torch.zeros(())
    if rested:
        first = torch.stack([layer[..., 0] for layer in out.attentions])  # [L, B, H, T]
        busy = 1 - first.mean(dim=(0, 2))[batch["asking"]].mean()
    return loss, visual, busy
