"""The tiny CLIP: a real `CLIPModel` folder that tells which caption fits a frame of the demo."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import processors
from transformers import AutoTokenizer, CLIPConfig, CLIPModel

from hhvad import checkpoint
from hhvad.demo import pictures
from hhvad.demo.lessons import SHOWN
from hhvad.demo.pictures import FRAMES, Shot
from hhvad.demo.scenes import render
from hhvad.files import read_json, write_json
from hhvad.media.resize import with_torch
from hhvad.mllm import course

SIDE = 56
WINDOW = 3  # frames whose mean vector is compared with texts of several events
WORDS = 64  # tokens of a text at most
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
logger = logging.getLogger("hhvad")


def build(folder: str | Path, seed: int = 0) -> Path:
    """Write an untrained checkpoint: config, weights, preprocessor, the demo model's tokenizer."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    words: Any = AutoTokenizer.from_pretrained(  # nosec B615
        checkpoint.resolve("demo"), model_max_length=WORDS
    )
    # CLIP reads a text's vector at its end token, so the tokenizer must add it.
    words.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {words.eos_token}", special_tokens=[(words.eos_token, words.eos_token_id)]
    )
    words.chat_template = None
    torch.manual_seed(seed)
    config = CLIPConfig(
        projection_dim=64,
        logit_scale_init_value=2.3,
        vision_config={
            "hidden_size": 112,
            "intermediate_size": 256,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "image_size": SIDE,
            "patch_size": 7,
            "projection_dim": 64,
        },
        text_config={
            "vocab_size": len(words),
            "hidden_size": 96,
            "intermediate_size": 256,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": WORDS,
            "projection_dim": 64,
            "bos_token_id": None,
            "eos_token_id": words.eos_token_id,
            "pad_token_id": words.pad_token_id,
        },
    )
    CLIPModel(config).save_pretrained(folder)
    words.save_pretrained(folder)
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "CLIPImageProcessor",
            "do_resize": True,
            "size": {"height": SIDE, "width": SIDE},
            "resample": 3,
            "do_center_crop": False,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(MEAN),
            "image_std": list(STD),
        },
    )
    return folder


def train(
    folder: str | Path,
    work: str | Path,
    *,
    steps: int = 2400,
    batch: int = 12,
    shots: int = 8000,
    rate: float = 1.5e-3,
    seed: int = 0,
    threads: int = 1,
    minutes: float | None = None,
    every: int = 50,
) -> bool:
    """Train a checkpoint into `folder`, or go on where an interrupted training left off.

    A batch has `batch` shots of FRAMES frames. Each frame, and the mean vector of some frames of
    each shot, is compared with texts whose truth is known from the scene. An auxiliary head names
    what each frame shows, as the vision encoder of the tiny InternVL learned to look.

    Same settings: same weights, interrupted or not (on one machine and version of torch). What an
    interrupted training needs lies in `work`. Returns whether it is finished: False where
    `minutes` are over before.
    """
    folder, work = Path(folder), Path(work)
    settings: dict[str, Any] = {
        "steps": steps,
        "batch": batch,
        "shots": shots,
        "rate": rate,
        "seed": seed,
        "threads": threads,
        "torch": str(torch.__version__),
    }
    course.require_same_settings(work, settings)
    if not (work / "state.safetensors").is_file() or not (folder / "config.json").is_file():
        build(folder, seed)
    torch.set_num_threads(threads)
    began = time.monotonic()
    known = _draw(work, seed, shots, began, minutes)
    if known is None:
        return False
    network: Any = CLIPModel.from_pretrained(folder, dtype=torch.float32)  # nosec B615
    network.train()
    words = AutoTokenizer.from_pretrained(folder)  # nosec B615
    torch.manual_seed(seed)
    watcher = torch.nn.Linear(network.config.vision_config.hidden_size, len(SHOWN))
    bias = torch.nn.Parameter(torch.tensor(-5.0))
    weights = dict(network.named_parameters()) | {"bias": bias}
    weights |= {f"watcher.{name}": value for name, value in watcher.named_parameters()}
    optimiser = torch.optim.AdamW(weights.values(), lr=rate, weight_decay=0.02, betas=(0.9, 0.98))
    losses, before = course.resume(work, weights, optimiser)
    for step in range(len(losses), steps):
        cosine = max(0.02, 0.5 * (1 + np.cos(np.pi * step / steps)))
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 100) * cosine
        rng = np.random.default_rng([seed, 4000, step])
        picked = np.sort(rng.choice(shots, batch, replace=False))
        items = [pictures.shot(seed, int(index)) for index in picked]
        mirrored = rng.random(batch) < 0.5
        clips = known[picked]
        clips[mirrored] = clips[mirrored, :, :, ::-1]
        shown = np.stack(
            [pictures.attributes(i, bool(m)) for i, m in zip(items, mirrored, strict=True)]
        )
        told, matched, ranked = _losses(network, watcher, bias, words, items, clips, shown, rng)
        loss: Any = matched + 0.3 * ranked + 0.1 * told
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimiser.step()
        losses.append((float(told.detach()), float(matched.detach()), float(ranked.detach())))
        spent = (time.monotonic() - began) / 60
        over = minutes is not None and spent >= minutes
        if (step + 1) % every == 0 or step + 1 == steps or over:
            course.keep(work, weights, optimiser, losses, before + spent)
            network.save_pretrained(folder)
            columns = ("shown", "matched", "ranked")
            course.describe(folder, settings, columns, losses, before + spent, every)
            logger.warning(
                "step %d of %d, %.0f min: shown %.3f, matched %.3f, ranked %.3f",
                *(step + 1, steps, before + spent, *losses[-1]),
            )
        if over:
            break
    return len(losses) == steps


def _draw(
    work: Path, seed: int, size: int, began: float, minutes: float | None
) -> NDArray[np.uint8] | None:
    """The frames of all shots, uint8 [size, FRAMES, SIDE, SIDE, 3], kept in a file of `work`."""
    work.mkdir(parents=True, exist_ok=True)
    count, file = work / "drawn.json", work / "shots.npy"
    drawn = int(read_json(count)) if count.is_file() else 0
    shape = (size, FRAMES, SIDE, SIDE, 3)
    frames: Any = np.lib.format.open_memmap(
        file, mode="r+" if drawn else "w+", dtype=np.uint8, shape=shape
    )
    for index in range(drawn, size):
        item = pictures.shot(seed, index)
        frames[index] = with_torch(
            np.stack(list(render(item.scene, list(item.wanted)))), (SIDE, SIDE)
        )
        over = minutes is not None and (time.monotonic() - began) / 60 >= minutes
        if (index + 1) % 500 == 0 or index + 1 == size or over:
            frames.flush()
            write_json(count, index + 1)
            logger.warning("%d of %d shots drawn", index + 1, size)
        if over and index + 1 < size:
            return None
    return frames  # type: ignore[no-any-return]


def pixels(frames: NDArray[np.uint8]) -> torch.Tensor:
    """Frames uint8 [N, SIDE, SIDE, 3] as the vision encoder wants them: [N, 3, SIDE, SIDE]."""
    values = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255
    return (values - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def _losses(
    network: Any,
    watcher: torch.nn.Linear,
    bias: torch.nn.Parameter,
    words: Any,
    items: list[Shot],
    clips: NDArray[np.uint8],
    shown: NDArray[np.float32],
    rng: np.random.Generator,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What frames show, which texts are true of them, and whether true texts rank above others."""
    seen = network.vision_model(pixel_values=pixels(clips.reshape(-1, SIDE, SIDE, 3)))
    vectors = network.visual_projection(seen.pooler_output)
    vectors = torch.nn.functional.normalize(vectors, dim=-1).reshape(len(items), FRAMES, -1)
    told = torch.nn.functional.binary_cross_entropy_with_logits(
        watcher(seen.last_hidden_state[:, 1:].mean(dim=1)),
        torch.from_numpy(shown.reshape(-1, shown.shape[-1])),
        reduction="sum",
    ) / (len(items) * FRAMES)

    texts = pictures.texts(items, rng)
    windows = [
        np.sort(rng.choice(FRAMES, WINDOW, replace=False)).tolist() for _ in range(3 * len(items))
    ]
    asked = [(i, [frame]) for i in range(len(items)) for frame in range(FRAMES)]
    asked += [(number // 3, frames) for number, frames in enumerate(windows)]
    truth = torch.tensor(
        [[pictures.true(text, items[i], frames) for text in texts] for i, frames in asked]
    )
    mean = torch.stack([vectors[i, frames].mean(dim=0) for i, frames in asked])
    visual = torch.nn.functional.normalize(mean, dim=-1)
    tokens = words([text.text for text in texts], padding=True, return_tensors="pt")
    spoken = network.text_projection(network.text_model(**tokens).pooler_output)
    spoken = torch.nn.functional.normalize(spoken, dim=-1)

    logits = network.logit_scale.exp() * visual @ spoken.T
    matched = torch.nn.functional.binary_cross_entropy_with_logits(
        logits + bias, truth.float(), reduction="none"
    )
    matched = matched[truth].mean() + matched[~truth].mean()
    named = truth.any(dim=1)
    least = torch.finfo(logits.dtype).min
    ranked = logits.logsumexp(1) - logits.masked_fill(~truth, least).logsumexp(1)
    return told, matched, ranked[named].mean()
