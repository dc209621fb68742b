"""Low-rank adapters (LoRA) for the text decoder of a multimodal model, learnt from answers.

Hu et al., ICLR 2022; as Holmes-VAU tunes InternVL2: the decoder's projections alone, the vision
encoder and the embeddings stay as they are. peft holds the adapter, in its own file format.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import TemplateError
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hhvad.artifacts.hdf5 import open_artifact
from hhvad.errors import ArtifactError, ModelError
from hhvad.files import atomic_folder, atomic_path, write_json, write_tsv
from hhvad.mllm import course
from hhvad.mllm.engine import Engine, _adapter, _batched, _folder, _network, _part, _quiet
from hhvad.mllm.head import token_ids_of
from hhvad.mllm.tasks.describe import as_characters

log = logging.getLogger("hhvad")

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"  # peft's names
_OUTER = "base_model."  # in peft's files, before the names of the tuner
_WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "*.pth")


@dataclass(frozen=True)
class Lesson:
    """What the model is to answer about a set of frames of a frames file."""

    frames: str
    segment: int
    prompt: str
    reply: str


@dataclass(frozen=True)
class Settings:
    """rate warms up over the share `warmup` of all steps and falls as a cosine; batch: lessons a
    step; rank, alpha, dropout: of LoRA; decay: AdamW's weight decay."""

    rank: int
    alpha: float
    dropout: float
    rate: float
    warmup: float
    decay: float
    batch: int
    epochs: int
    seed: int
    system: str


def tune(
    model: str,
    lessons: Sequence[Lesson],
    settings: Settings,
    out: str | Path,
    work: str | Path,
    *,
    key: str,
    name: str,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    every: float = 60,
    progress: Callable[[int, int, float], None] = lambda done, total, loss: None,
) -> None:
    """Learn an adapter into the folder `out`, or go on where an interrupted training left off.

    A step is one of AdamW for `batch` lessons, each by itself, their loss the mean cross-entropy of
    all tokens of all replies. `work` holds the state, written after a step where `every` seconds
    have passed, of the training with this `key`: a digest of all that it follows from; with another
    key it begins anew. The same lessons and settings give the same bytes, interrupted or not (on
    one machine and version of torch). name: the model's, for the adapter's config. progress(done,
    total, loss) after each step. Writes the adapter, its config and `loss.tsv`. Raises ModelError,
    also for a lesson that does not fit into the model's context.
    """
    out, work = Path(out), Path(work)
    if not lessons:
        raise ModelError("there is no lesson to learn from")
    state = course.folder_of(work, key)
    torch.manual_seed(settings.seed)
    adapted = _Adapted(settings, name)
    engine = Engine.load(
        model, revision=revision, dtype=dtype, device=device, threads=threads, adapt=adapted.put
    )
    weights = adapted.weights()
    optimiser = torch.optim.AdamW(
        weights.values(), lr=settings.rate, weight_decay=settings.decay, foreach=False
    )
    losses, _ = course.resume(state, weights, optimiser)
    steps_an_epoch = math.ceil(len(lessons) / settings.batch)
    total = steps_an_epoch * settings.epochs
    teacher = _Teacher(engine, settings.system)
    adapted.train()
    kept = time.monotonic()
    for step in range(len(losses), total):
        epoch, place = divmod(step, steps_an_epoch)
        order = np.random.default_rng([settings.seed, epoch]).permutation(len(lessons))
        picked = order[place * settings.batch : (place + 1) * settings.batch]
        torch.manual_seed(settings.seed * 1_000_003 + step)  # dropout
        for group in optimiser.param_groups:
            group["lr"] = settings.rate * share_of_rate(step, total, settings.warmup)
        loss = teacher.learn([lessons[index] for index in picked])
        if not math.isfinite(loss):
            raise ModelError(f"the loss of step {step + 1} is {loss}: lower the rate")
        nn.utils.clip_grad_norm_(weights.values(), 1.0, foreach=False)
        optimiser.step()
        optimiser.zero_grad()
        losses.append((loss,))
        if time.monotonic() - kept >= every or step + 1 == total:
            course.keep(state, weights, optimiser, losses, 0.0)
            kept = time.monotonic()
        progress(step + 1, total, loss)
    out.mkdir(parents=True, exist_ok=True)
    adapted.save(out)
    write_tsv(out / "loss.tsv", ("step", "loss"), [(i, *row) for i, row in enumerate(losses, 1)])


def versions() -> dict[str, str]:
    """The libraries that compute a training."""
    import peft

    return {"torch": torch.__version__, "peft": peft.__version__}


def share_of_rate(step: int, total: int, warmup: float) -> float:
    """The learning rate of a step as a share of its peak: linear to it, then a cosine to zero.

    As transformers' get_cosine_schedule_with_warmup, but that no step has rate 0.
    """
    warm = math.ceil(total * warmup)
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))


def merge(model: str, adapter: str | Path, out: str | Path, *, revision: str | None = None) -> None:
    """Write the checkpoint folder `out`: a model with the adapter of `tune` added to its weights.

    In the dtype of the checkpoint; all files but the weights are the checkpoint's own. Raises
    ModelError for an adapter of another model.
    """
    from peft import LoraConfig, LoraModel, set_peft_model_state_dict

    folder, adapter, out = _folder(model, revision), Path(adapter), Path(out)
    with _quiet():
        network = _network(folder, _adapter(folder).model_class, "auto")
    try:
        config = LoraConfig.from_pretrained(str(adapter))
        learnt = load_file(adapter / WEIGHTS)
    except (OSError, ValueError, TypeError) as error:
        raise ArtifactError(f"{adapter}: not an adapter of tune-lora ({error})") from error
    try:
        tuned = LoraModel(network, {"default": config}, "default")
        learnt = {name.removeprefix(_OUTER): tensor for name, tensor in learnt.items()}
        result: Any = set_peft_model_state_dict(tuned, learnt)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{adapter}: it does not fit {model} ({reason})") from error
    lacking = [name for name in result.missing_keys if ".lora_" in name]
    if lacking or result.unexpected_keys:
        raise ModelError(
            f"{adapter}: it does not fit {model}: {[*lacking, *result.unexpected_keys][0]} is in "
            "one of them alone"
        )
    merged: Any = tuned.merge_and_unload()
    with atomic_folder(out) as partial:
        with _quiet():
            merged.save_pretrained(partial)
        for path in sorted(folder.iterdir()):
            if path.is_file() and not any(path.match(pattern) for pattern in _WEIGHT_FILES):
                shutil.copyfile(path, partial / path.name)


class _Adapted:
    """A network with a fresh adapter in its decoder."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings, self.name = settings, name

    def put(self, network: nn.Module, decoder: nn.Module) -> None:
        """Put the adapter into the network's decoder, whose weights stay frozen."""
        from peft import LoraConfig, LoraModel

        names = {id(module): name for name, module in network.named_modules()}
        inside = names[id(decoder)].replace(".", r"\.")
        config = LoraConfig(
            r=self.settings.rank,
            lora_alpha=self.settings.alpha,  # type: ignore[arg-type]
            lora_dropout=self.settings.dropout,
            target_modules=rf"{inside}\.layers\.\d+\..+\.({'|'.join(PROJECTIONS)})",
        )
        self.network = LoraModel(network, {"default": config}, "default")

    def weights(self) -> dict[str, nn.Parameter]:
        """What is learnt, in float32 whatever the model's dtype: a step is smaller than bfloat16's
        resolution."""
        learnt = {name: w for name, w in self.network.named_parameters() if ".lora_" in name}
        for weight in learnt.values():
            weight.data = weight.data.float()
            weight.requires_grad_(True)
        return learnt

    def train(self) -> None:
        """Switch the adapter's dropout on, and nothing else: the model stays as it answers."""
        for name, module in self.network.named_modules():
            if ".lora_dropout" in name:
                module.train()

    def save(self, out: Path) -> None:
        """Write the adapter as peft reads it."""
        from peft import get_peft_model_state_dict

        tensors = get_peft_model_state_dict(self.network)
        whole = {
            f"{_OUTER}{name}": tensors[name].detach().cpu().contiguous() for name in sorted(tensors)
        }
        with atomic_path(out / WEIGHTS) as partial:
            save_file(whole, partial, {"format": "pt"})
        config = self.network.peft_config["default"]
        config.base_model_name_or_path = self.name  # peft writes the folder's path
        config.inference_mode = True
        settings = config.to_dict()
        write_json(out / CONFIG, {key: settings[key] for key in sorted(settings)})


class _Teacher:
    """Turns lessons into gradients, one at a time."""

    def __init__(self, engine: Engine, system: str) -> None:
        self.engine, self.system = engine, system
        self.head, ends = engine._voice()
        self.end = _end_of_reply(engine.tokenizer, ends)

    def learn(self, lessons: Sequence[Lesson]) -> float:
        """Add up the gradients of a step; the mean loss of its replies' tokens."""
        replies = [self._reply(lesson.reply) for lesson in lessons]
        tokens = sum(len(reply) for reply in replies)
        total = 0.0
        for lesson, reply in zip(lessons, replies, strict=True):
            loss = self.loss(self._frames(lesson), lesson.prompt, reply) / tokens
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return total

    def loss(self, frames: NDArray[np.uint8], prompt: str, reply: Tensor) -> Tensor:
        """Cross-entropy of a reply's tokens, summed, behind frames [1, F, H, W, 3] and prompt."""
        engine, backbone = self.engine, self.engine.backbone
        _, n_frames, height, width, _ = frames.shape
        asked = as_characters(prompt, engine.tokenizer)
        (group,) = engine._plan([asked], n_frames, height, width, self.system)
        (suffix,) = group.suffixes
        ids = torch.cat([group.ids, suffix.ids, reply[:-1]])
        engine._check_context(len(ids) + 1)
        with torch.no_grad():
            pixels = backbone.pixels(engine._move(torch.from_numpy(frames)), engine.dtype)
            vision = backbone.encode(pixels)
            inputs = backbone.prefix(ids, vision)
        places = torch.cat([group.positions, suffix.positions], dim=-1)
        steps = torch.arange(1, len(reply), device=places.device)
        behind = (places.amax() + steps).expand(*places.shape[:-1], -1)
        hidden = backbone.decoder(
            **inputs,
            position_ids=_batched(torch.cat([places, behind], dim=-1)),
            use_cache=False,
        ).last_hidden_state[0, -len(reply) :]
        logits = nn.functional.linear(hidden, self.head).float()
        return nn.functional.cross_entropy(logits, reply, reduction="sum")

    def _reply(self, text: str) -> Tensor:
        ids = [*token_ids_of(self.engine.tokenizer, text), self.end]
        return self.engine._move(torch.tensor(ids))

    def _frames(self, lesson: Lesson) -> NDArray[np.uint8]:
        with open_artifact(lesson.frames, "frames") as (file, _):
            frames: NDArray[np.uint8] = file["frames"][lesson.segment : lesson.segment + 1]
        return frames


def _end_of_reply(tokenizer: Any, ends: set[int]) -> int:
    """The token that the chat template has behind a reply; else the tokenizer's own end."""
    mark = "reply"
    for texts in ([[_part("question")], [_part(mark)]], ["question", mark]):
        roles = zip(("user", "assistant"), texts, strict=True)
        said = [{"role": role, "content": text} for role, text in roles]
        try:
            text = tokenizer.apply_chat_template(said, tokenize=False)
        except (TypeError, ValueError, TemplateError):
            continue
        _, found, behind = text.rpartition(mark)
        ids = tokenizer(behind, add_special_tokens=False)["input_ids"]
        if found and ids and ids[0] in ends:
            return int(ids[0])
    if tokenizer.eos_token_id is None:
        raise ModelError("the checkpoint does not say which token ends a reply")
    return int(tokenizer.eos_token_id)
