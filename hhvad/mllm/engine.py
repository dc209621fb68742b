"""The capture engine: head features of many segments and prompts for little more than one pass.

A segment's frames stand before the question, so the vision encoder and the prefill of everything up
to the last visual token are the same for all prompts: they run once a segment, and each prompt adds
only its own tokens on the prefix's keys and values (prefix.py). Nothing past the deepest wanted
head runs (hooks.py), and no logits are ever computed.

The cut is always just behind the last visual token, whatever the prompts: so the features of one
prompt do not depend on which others are computed with it.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers
from jinja2 import TemplateError
from numpy.typing import NDArray
from torch import Tensor, nn

from hhvad.checkpoint import resolve, stamp
from hhvad.errors import ModelError
from hhvad.mllm.backbones.backbone import Backbone, Pixels, Told, Vision, find, read_object
from hhvad.mllm.complete import Messages, choose, complete
from hhvad.mllm.float8 import use_float8
from hhvad.mllm.head import (
    Answer,
    end_tokens,
    log_probability,
    output_head,
    plain,
    token_ids_of,
)
from hhvad.mllm.hooks import PassDone, Tap
from hhvad.mllm.kernels import speed_up
from hhvad.mllm.prefix import PrefixCache
from hhvad.mllm.replay import Replay
from hhvad.mllm.sample import Choice, Sampling
from hhvad.mllm.weights import (
    DTYPES,
    check_float8,
    check_weights,
    choose_precision,
    computes,
    cpu_flags,
    free_memory,
)
from hhvad.mllm.write import Step, write
from hhvad.records import HeadId

log = logging.getLogger("hhvad")

_KEPT = 3  # sets of prompts whose memory and record are kept: a video's, and its last batch's
_CPU_TOKENS = 2048  # a batch's visual tokens on a CPU: more segments at once do not pay there
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "tokenizer.model")


@dataclass(frozen=True)
class ModelInfo:
    """What a loaded model is: geometry from its config, never from a table.

    frame_size is (height, width), None where the model takes several sizes; then tokens_per_frame
    is None too. fingerprint is the same for the same checkpoint files, wherever they lie.
    dtype_reason says why `auto` became this dtype on a CPU, commit which one of a hub id this is;
    tells_time whether the text that the model reads says when frames are shown.
    torch and transformers are the versions that compute.
    """

    architecture: str
    layers: int
    heads: int
    head_dim: int
    frame_size: tuple[int, int] | None
    tokens_per_frame: int | None
    dtype: str
    device: str
    fingerprint: str
    dtype_reason: str = ""
    commit: str | None = None
    tells_time: bool = False
    torch: str = torch.__version__
    transformers: str = transformers.__version__


@dataclass
class _Suffix:
    prompt: int  # index among the prompts asked for
    ids: Tensor  # [T'] on the device
    positions: Tensor


@dataclass
class _Pass:
    """One prefill and the prompts that share it."""

    ids: Tensor  # [T] on the device
    positions: Tensor
    suffixes: list[_Suffix] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)  # what its prompts are, without the frames


class Engine:
    """A loaded model that captures head features. Make one with `Engine.load`.

    Not for several threads at once: run one capture after the other.
    """

    def __init__(
        self,
        backbone: Backbone,
        tokenizer: Any,
        *,
        device: torch.device,
        fingerprint: str,
        folder: Path | None = None,
        dtype_reason: str = "",
        fast: bool = True,
        float8: bool = False,
    ) -> None:
        self.folder = folder  # of the checkpoint: the output head is read when it is first needed
        self._head: Tensor | None = None
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.device = device
        if fast and device.type == "cuda":  # a CPU gains nothing by them
            speed_up(backbone.model, backbone.decoder)
        if float8:
            use_float8(backbone.model)
        self.dtype: torch.dtype = next(backbone.decoder.parameters()).dtype
        self.watch: Callable[[str], AbstractContextManager[None]] = lambda stage: nullcontext()
        self._batches: dict[tuple[int, ...], _BatchSize] = {}
        self._asked: list[_Asked] = []  # of the last captures: the next one's is often the same
        text = backbone.config.get_text_config()
        heads = text.num_attention_heads
        head_dim = getattr(text, "head_dim", None) or text.hidden_size // heads
        size = backbone.frame_size
        self.info = ModelInfo(
            architecture=backbone.config.model_type,
            layers=text.num_hidden_layers,
            heads=heads,
            head_dim=head_dim,
            frame_size=size,
            tokens_per_frame=backbone.tokens(2, *size) - backbone.tokens(1, *size)
            if size
            else None,
            dtype="float8" if float8 else str(self.dtype).removeprefix("torch."),
            device=str(device),
            fingerprint=fingerprint,
            dtype_reason=dtype_reason,
            commit=commit_of(folder),
            tells_time=backbone.tells_time,
        )

    @classmethod
    def load(
        cls,
        model: str,
        *,
        revision: str | None = None,
        dtype: str = "auto",
        device: str = "auto",
        threads: int | None = None,
        adapt: Callable[[Any, nn.Module], None] | None = None,
    ) -> Engine:
        """Load a checkpoint folder (offline) or a hub id `org/name` (only then with the network).

        dtype: auto (the checkpoint's; on a CPU see hhvad.mllm.weights), float32, bfloat16, float16
        or float8 (bfloat16 with matrix products in float8, hhvad.mllm.float8). device: auto (the
        first GPU, else the CPU) or a torch device. threads: CPU threads of torch, unchanged where
        None. adapt: what a training does to the network and the decoder in it before they go to the
        device; its modules then stay as transformers has them.
        Only safetensors are read and no code of a checkpoint is run. Raises ModelError.
        """
        target = _device(device)
        if dtype != "auto" and dtype not in DTYPES:
            raise ModelError(f"dtype {dtype!r} is unknown: use auto, {', '.join(DTYPES)}")
        if threads is not None:
            torch.set_num_threads(threads)
        if dtype == "float8":
            check_float8(target)
            if adapt is not None:
                raise ModelError(f"{model}: dtype float8 cannot be trained: take bfloat16")
        folder = _folder(model, revision)
        adapter = _adapter(folder)
        check_weights(folder, dtype)
        precision = choose_precision(folder, dtype, target.type, cpu_flags(), free_memory())
        pixels = Pixels.read(folder, "video")
        with _quiet():
            tokenizer = _tokenizer(folder)
            network = _network(folder, adapter.model_class, precision.dtype)
        base: nn.Module = network.model.eval().requires_grad_(False)  # no lm_head: never used
        backbone = adapter(base, base.config, tokenizer, pixels)
        if adapt is not None:
            adapt(network, backbone.decoder)
        try:
            base = base.to(target)
        except torch.OutOfMemoryError as error:
            raise ModelError(f"{model}: its weights do not fit into the memory of {target}") from (
                error
            )
        return cls(
            backbone,
            tokenizer,
            device=target,
            fingerprint=stamp(str(folder)),
            folder=folder,
            dtype_reason=precision.reason,
            fast=adapt is None,
            float8=dtype == "float8",
        )

    def __str__(self) -> str:
        info = self.info
        kind = f"{info.architecture}, {info.layers} layers x {info.heads} heads"
        return f"{kind}, {computes(info)}"

    # Text

    def text(
        self,
        prompt: str,
        n_frames: int,
        size: tuple[int, int] | None = None,
        system: str = "",
        told: Told | None = None,
    ) -> str:
        """The exact text for a prompt, runs of visual tokens written once with their count.

        size is that of the frames (height, width), for models that take several sizes; without it
        the smallest possible one is shown.
        """
        if size is not None:
            self.backbone.check_size(*size)
        full = self._text(prompt, n_frames, *(size or self.backbone.smallest_size), system, told)
        token = re.escape(self.backbone.visual_token)
        return re.sub(
            f"(?:{token}){{2,}}",
            lambda run: f"{self.backbone.visual_token}x{run[0].count(self.backbone.visual_token)}",
            full,
        )

    def _text(
        self,
        prompt: str,
        frames: int,
        height: int,
        width: int,
        system: str = "",
        told: Told | None = None,
    ) -> str:
        """The chat template around one video and the prompt, the video written out."""
        mark = self.backbone.video_token
        for name, given in (("prompt", prompt), ("system message", system)):
            for forbidden in {mark, self.backbone.visual_token}:
                if forbidden in given:
                    raise ModelError(f"{name} {given!r} holds the model's own token {forbidden!r}")
        rendered = self._render(prompt, mark, system)
        shown = self.backbone.told_text(frames, height, width, told or Told())
        return rendered.replace(mark, shown)

    def _render(self, prompt: str, mark: str, system: str) -> str:
        # Templates of multimodal checkpoints take a list of parts; some know text parts only, and
        # text-only ones take just a string. A part or a role that a template does not know it drops
        # or refuses: then the system message goes in front of what the user says.
        conversations: list[tuple[list[dict[str, Any]], str]] = []
        for before in ("", f"{system}\n") if system else ("",):
            whole = f"{before}{mark}\n{prompt}"
            video: list[Any] = [_part(before)] if before else []
            video += [{"type": "video"}, _part(prompt)]
            for content, fragment in (
                (video, prompt.strip()),
                ([_part(whole)], whole.strip()),
                (whole, whole.strip()),
            ):
                messages = [{"role": "user", "content": content}]
                if system and not before:
                    said = system if isinstance(content, str) else [_part(system)]
                    messages.insert(0, {"role": "system", "content": said})
                conversations.append((messages, fragment))
        for messages, fragment in conversations:
            try:
                rendered: str = self.tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=True
                )
            except (TemplateError, TypeError):
                continue
            except ValueError as error:  # no template at all
                raise ModelError(f"the checkpoint's tokenizer has no chat template: {error}") from (
                    error
                )
            is_whole = fragment in rendered and system.strip() in rendered
            if rendered.count(mark) == 1 and is_whole:
                return rendered
        raise ModelError(f"the checkpoint's chat template takes no video ({mark}) with a prompt")

    def _plan(
        self,
        prompts: Sequence[str],
        frames: int,
        height: int,
        width: int,
        system: str = "",
        told: Told | None = None,
    ) -> list[_Pass]:
        """The prefills to run and the prompts on each: one for all where frames come first."""
        visual = self.backbone.visual_token_id
        expected = self.backbone.tokens(frames, height, width)
        passes: dict[tuple[int, ...], _Pass] = {}
        for index, prompt in enumerate(prompts):
            text = self._text(prompt, frames, height, width, system, told)
            ids = torch.tensor(self.tokenizer(text, add_special_tokens=False)["input_ids"])
            places = (ids == visual).nonzero().flatten()
            if len(places) != expected:
                raise ModelError(
                    f"the tokenizer makes {len(places)} of {expected} visual tokens "
                    f"{self.backbone.visual_token!r}: it does not fit this model"
                )
            cut = int(places[-1]) + 1
            if cut == len(ids):
                raise ModelError("the chat template leaves nothing after the frames to read from")
            positions = self.backbone.positions(ids, frames, height, width)
            group = passes.setdefault(
                tuple(ids[:cut].tolist()), _Pass(ids[:cut], positions[..., :cut])
            )
            group.suffixes.append(_Suffix(index, ids[cut:], positions[..., cut:]))
        if len(passes) > 1:
            log.warning(
                "the chat template puts the question before the frames: no prefix is shared, "
                "each of the %d prompts takes a full pass",
                len(passes),
            )
        for group in passes.values():
            asked = [(s.prompt, s.ids.tolist(), s.positions.tolist()) for s in group.suffixes]
            group.asked = [len(group.ids), asked]
            group.ids, group.positions = self._move(group.ids), self._move(group.positions)
            for suffix in group.suffixes:
                suffix.ids, suffix.positions = self._move(suffix.ids), self._move(suffix.positions)
        return list(passes.values())

    def _move(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device)

    # Capture

    def capture(
        self,
        frames: Any,
        prompts: Sequence[str],
        *,
        system: str = "",
        heads: Sequence[HeadId] | None = None,
        batch_size: int | Literal["auto"] = "auto",
        seconds: NDArray[np.float64] | None = None,
        outer_marks: bool = False,
        progress: Callable[[int, int], None] | None = None,
        states: bool = False,
    ) -> list[NDArray[np.float32]]:
        """The head features of every segment at the last position of every prompt.

        frames: [S, F, H, W, 3] uint8, an array or anything that slices by segment (h5py). system
        is the system message before them, part of what all prompts share; empty for none.
        Returns, a prompt, float32 [S, L, H, D], or [S, n, D] in the order of `heads`; values as the
        model's dtype gives them, NaN and infinity included. A head is the slice h*D:(h+1)*D of
        what enters its layer's o_proj. seconds [S, F] (when each frame is shown, from the start of
        its segment) and outer_marks are what `Told` says, for families whose text depends on it;
        segments of different texts are not in one batch. states: the hidden states that enter each
        layer and the final norm, in place of heads: [S, L + 1, 1, hidden]. progress(done, total)
        after each batch. Raises ModelError for frames that do not suit the model, heads that it has
        not, and where one segment alone does not fit into memory.
        """
        count, n_frames, height, width = self._check_frames(frames)
        if states and heads is not None:
            raise ModelError("heads and states: a capture keeps the one or the other")
        picked = self._check_heads(heads)
        layers = (
            list(range(self.info.layers)) if heads is None else sorted({h.layer for h in picked})
        )
        shape = (count, len(picked) if heads is not None else self.info.layers * self.info.heads)
        dim = self.info.head_dim
        if states:
            shape = (count, self.info.layers + 1)
            dim = self.backbone.config.get_text_config().hidden_size
        results = [np.empty((*shape, dim), np.float32) for _ in prompts]
        if count and prompts and shape[1]:
            shape_of_work = (n_frames, height, width, layers[-1], len(prompts))
            sizes = self._batch_size(batch_size, shape_of_work)
            for told, start, stop in self._tellings(seconds, outer_marks, count):
                plan = self._plan(prompts, n_frames, height, width, system, told)
                job = _Job(self, plan, layers, picked, states=states)
                with torch.inference_mode():
                    self._loop(frames, (start, stop), job, sizes, results, progress)
        if states:
            return [result[:, :, None] for result in results]
        if heads is None:
            geometry = (count, self.info.layers, self.info.heads, self.info.head_dim)
            results = [result.reshape(geometry) for result in results]
        return results

    def _tellings(
        self, seconds: NDArray[np.float64] | None, outer_marks: bool, count: int
    ) -> Iterator[tuple[Told, int, int]]:
        """Runs [start, stop) of segments that are told the same."""
        if seconds is None or not self.backbone.tells_time:
            yield Told((), outer_marks), 0, count
            return
        start = 0
        for row, run in groupby(np.round(seconds, 3).tolist()):
            stop = start + len(list(run))
            yield Told(tuple(row), outer_marks), start, stop
            start = stop

    # Texts

    def generate(
        self,
        frames: Any,
        prompt: str,
        *,
        system: str = "",
        max_tokens: int,
        batch_size: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Answer]:
        """What the model answers to `prompt` on every segment, greedily, one prefill a segment.

        frames: [S, F, H, W, 3] uint8. Segments run in their order, batch_size at a time, all of
        them equally long: an answer depends on nothing else that is asked. A row ends at the
        checkpoint's end tokens, or is cut after max_tokens. Raises ModelError, also where frames,
        prompt and answer do not fit into the model's context.
        """
        count, n_frames, height, width = self._check_frames(frames)
        if max_tokens < 1 or batch_size < 1:
            raise ModelError("max_tokens and batch_size are numbers from 1")
        head, ends = self._voice()
        (group,) = self._plan([prompt], n_frames, height, width, system)
        (suffix,) = group.suffixes
        self._check_context(len(group.ids) + len(suffix.ids) + max_tokens)
        answers: list[Answer] = []
        with torch.inference_mode():
            for start in range(0, count, batch_size):
                block = np.ascontiguousarray(frames[start : start + batch_size])
                batch = self._move(torch.from_numpy(block))
                for ids in self._write(batch, group, suffix, ends, max_tokens, head):
                    done = ids[-1] in ends
                    said = self.tokenizer.decode(ids, skip_special_tokens=True)
                    answers.append(Answer(plain(said), len(ids) - done, cut=not done))
                if progress is not None:
                    progress(len(answers), count)
        return answers

    def weigh(
        self,
        frames: Any,
        prompts: Sequence[str],
        answers: Sequence[str],
        *,
        system: str = "",
        batch_size: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> NDArray[np.float64]:
        """How likely each of `answers` is as the beginning of the reply to each of `prompts`.

        frames: [S, F, H, W, 3] uint8, run in their order, batch_size at a time; one prefill a
        segment for all prompts. Returns log-probabilities [S, P, A], sums over an answer's tokens.
        Raises ModelError as `generate`, and for an answer without a token.
        """
        count, n_frames, height, width = self._check_frames(frames)
        if batch_size < 1:
            raise ModelError("batch_size is a number from 1")
        head, _ = self._voice()
        said = [self._move(torch.tensor(token_ids_of(self.tokenizer, a))) for a in answers]
        plan = self._plan(prompts, n_frames, height, width, system)
        longest = max((len(ids) for ids in said), default=0)
        room = longest + max((len(s.ids) for group in plan for s in group.suffixes), default=0)
        self._check_context(room + max((len(group.ids) for group in plan), default=0))
        found = np.empty((count, len(prompts), len(said)))
        with torch.inference_mode():
            for start in range(0, count, batch_size):
                block = np.ascontiguousarray(frames[start : start + batch_size])
                batch = self._move(torch.from_numpy(block))
                vision = self.backbone.encode(self.backbone.pixels(batch, self.dtype))
                for group in plan:
                    cache = PrefixCache(self.info.layers, room)
                    self._prefill(group, vision, cache)
                    for suffix in group.suffixes:
                        values = self._weigh(suffix, said, cache, head, len(block))
                        found[start : start + len(block), suffix.prompt] = values.cpu().numpy()
                if progress is not None:
                    progress(min(start + batch_size, count), count)
        return found

    def complete(
        self,
        conversations: Sequence[Messages],
        *,
        max_tokens: int,
        batch_size: int,
        sampling: Sampling | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Answer]:
        """What the text decoder answers to each conversation (hhvad.mllm.complete)."""
        head, ends = self._voice()
        return complete(
            self.backbone.decoder,
            head,
            self.tokenizer,
            conversations,
            ends=ends,
            max_tokens=max_tokens,
            batch_size=batch_size,
            context=self._context,
            sampling=sampling,
            progress=progress,
        )

    def choose(
        self,
        conversations: Sequence[Messages],
        choices: Sequence[str],
        *,
        batch_size: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> NDArray[np.float64]:
        """How likely each choice is as the answer to each conversation (hhvad.mllm.complete)."""
        head, _ = self._voice()
        return choose(
            self.backbone.decoder,
            head,
            self.tokenizer,
            conversations,
            choices,
            batch_size=batch_size,
            context=self._context,
            progress=progress,
        )

    def embed_class(
        self,
        frames: NDArray[np.uint8],
        *,
        batch_size: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> NDArray[np.float32]:
        """The vision encoder's class vectors [G, D] of frames [G, H, W, 3], as it gives them.

        Frames run in their order, batch_size at a time. Raises ModelError for frames of a wrong
        size, or where the encoder has no class token.
        """
        self.backbone.check_size(*frames.shape[1:3])
        found = []
        with torch.inference_mode():
            for start in range(0, len(frames), batch_size):
                block = np.ascontiguousarray(frames[start : start + batch_size])
                values = self.backbone.pixels(self._move(torch.from_numpy(block))[None], self.dtype)
                found.append(self.backbone.class_vectors(values[0]).float().cpu().numpy())
                if progress is not None:
                    progress(min(start + batch_size, len(frames)), len(frames))
        return np.concatenate(found)

    def _voice(self) -> tuple[Tensor, set[int]]:
        """The output head, read when it is first needed, and the tokens that end an answer."""
        if self.folder is None:
            raise ModelError("an engine without a checkpoint folder has no output head")
        if self._head is None:
            self._head = output_head(self.folder, self.backbone.config, self.backbone.decoder)
        return self._head, end_tokens(self.folder, self.tokenizer)

    def _write(
        self,
        frames: Tensor,
        group: _Pass,
        suffix: _Suffix,
        ends: set[int],
        max_tokens: int,
        head: Tensor,
    ) -> list[list[int]]:
        """The tokens of each row's answer, its end token included where it came to one."""
        backbone, rows = self.backbone, len(frames)
        vision = backbone.encode(backbone.pixels(frames, self.dtype))
        cache = PrefixCache(self.info.layers, len(suffix.ids) + max_tokens)
        self._prefill(group, vision, cache)
        if len(suffix.ids) > 1:  # all of the question but its last token
            backbone.decoder(
                inputs_embeds=backbone.embed(suffix.ids[:-1], rows),
                position_ids=_batched(suffix.positions[..., :-1]),
                past_key_values=cache,
                use_cache=True,
            )
            cache.keep(len(suffix.ids) - 1)
        step = Step(backbone.decoder, head, cache, rows, suffix.positions[..., -1:])
        return write(step, suffix.ids[-1:].expand(rows), Choice(None, ()), ends, max_tokens)

    def _weigh(
        self, suffix: _Suffix, said: list[Tensor], cache: PrefixCache, head: Tensor, rows: int
    ) -> Tensor:
        """The log-probability [rows, A] of each answer (token ids) behind one prompt."""

        def run(ids: Tensor, positions: Tensor) -> Tensor:
            """The hidden states [rows, T, hidden] of tokens behind what the cache holds."""
            hidden: Tensor = self.backbone.decoder(
                inputs_embeds=self.backbone.embed(ids, rows),
                position_ids=_batched(positions),
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state
            return hidden

        asked = run(suffix.ids, suffix.positions)[:, -1:]
        cache.keep(len(suffix.ids))
        values = []
        for ids in said:
            hidden = asked
            if len(ids) > 1:
                steps = torch.arange(1, len(ids), device=ids.device)
                positions = suffix.positions.amax() + steps
                behind = run(ids[:-1], positions.expand(*suffix.positions.shape[:-1], -1))
                hidden = torch.cat([asked, behind], dim=1)
            values.append(log_probability(hidden, head, ids))
        cache.keep(-len(suffix.ids))
        return torch.stack(values, dim=1)

    def _prefill(self, group: _Pass, vision: Vision, cache: PrefixCache) -> None:
        """Store the keys and values of a prefix in `cache`."""
        with suppress(PassDone):
            self.backbone.decoder(
                **self.backbone.prefix(group.ids, vision),
                position_ids=_batched(group.positions),
                past_key_values=cache,
                use_cache=True,
            )

    @property
    def _context(self) -> int | None:
        """How many tokens the text decoder holds, None where its config does not say."""
        return getattr(self.backbone.config.get_text_config(), "max_position_embeddings", None)

    def _check_context(self, length: int) -> None:
        if self._context is not None and length > self._context:
            raise ModelError(
                f"frames, prompt and answer take {length} tokens, the model's context holds "
                f"{self._context}: take fewer frames, a shorter prompt or a lower limit of the "
                "answer"
            )

    def _check_frames(self, frames: Any) -> tuple[int, int, int, int]:
        shape = tuple(frames.shape)
        if len(shape) != 5 or shape[-1] != 3 or frames.dtype != np.uint8:
            raise ModelError(
                f"frames are {frames.dtype} {list(shape)}, expected uint8 [segments, F, H, W, 3]"
            )
        count, n_frames, height, width, _ = shape
        if not n_frames:
            raise ModelError("the segments hold no frames")
        self.backbone.check_size(height, width)
        return count, n_frames, height, width

    def _check_heads(self, heads: Sequence[HeadId] | None) -> list[HeadId]:
        if heads is None:
            return []
        picked = [HeadId(*head) for head in heads]
        for head in picked:
            if not (0 <= head.layer < self.info.layers and 0 <= head.head < self.info.heads):
                raise ModelError(
                    f"head {head} is outside the model's {self.info.layers} layers x "
                    f"{self.info.heads} heads"
                )
        return picked

    def _batch_size(self, wanted: int | str, work: tuple[int, int, int, int, int]) -> _BatchSize:
        """For `work`: frames, height, width, the deepest layer, prompts."""
        if wanted != "auto":
            if not isinstance(wanted, int) or wanted < 1:
                raise ModelError(f"batch_size is {wanted!r}: use auto or a number from 1")
            return _BatchSize(wanted)
        if work not in self._batches:
            if self.device.type == "cuda":
                self._batches[work] = _GrowingBatchSize(self.device)
            else:
                tokens = self.backbone.tokens(*work[:3])
                self._batches[work] = _BatchSize(max(1, _CPU_TOKENS // tokens))
        return self._batches[work]

    def _loop(
        self,
        frames: Any,
        span: tuple[int, int],
        job: _Job,
        sizes: _BatchSize,
        results: list[NDArray[np.float32]],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        start, count = span
        waiting: _Host | None = None  # the features of the batch before, on their way to the host

        def deliver(host: _Host | None) -> None:
            if host is None:
                return
            with self.watch("copies"):
                values = host.wait()
            for result, value in zip(results, values, strict=True):
                result[host.start : host.stop] = value
            if progress is not None:
                progress(host.stop, len(frames))

        with _Reader(frames, self.device) as reader:
            while start < count:
                stop = min(start + sizes.size, count)
                following = min(stop + sizes.size, count)
                try:
                    with self.watch("copies"):
                        batch = reader.read(start, stop, following)
                    began = time.perf_counter()
                    features = job.run(batch)
                    host = _Host(features, start, stop)
                    sizes.ran(stop - start, began)
                except RuntimeError as error:
                    if not _out_of_memory(error):
                        raise
                    if stop - start == 1:
                        shape = "x".join(str(n) for n in frames.shape[1:4])
                        raise ModelError(
                            f"{self.device}: out of memory for one segment of {shape} (frames x "
                            "height x width): take fewer or smaller frames (sampling.frames, "
                            "sampling.size), a shorter dtype (model.dtype) or a larger device"
                        ) from error
                    self._asked.clear()
                    sizes.failed(stop - start)
                    log.info("out of memory: batches of %d segments from now on", sizes.size)
                else:
                    deliver(waiting)
                    waiting, start = host, stop
                    continue
                _release(self.device)
            deliver(waiting)


@dataclass
class _Asked:
    """The prompts behind one prefix, for batches of one size: the same work on the same memory."""

    work: tuple[Any, ...]  # what distinguishes it
    suffixes: list[_Suffix]
    batch: int
    cache: PrefixCache  # the prefix's; each pass stores its own
    replay: Replay  # of features [prompts, batch, n, D]


class _Job:
    """What is done to every batch of one capture."""

    def __init__(
        self,
        engine: Engine,
        passes: list[_Pass],
        layers: list[int],
        picked: list[HeadId],
        *,
        states: bool = False,
    ) -> None:
        self.engine = engine
        self.passes = passes
        self.layers = layers
        self.states = states
        self.taps = [f"layers.{layer}.self_attn.o_proj" for layer in layers]
        if states:
            self.taps = [*(f"layers.{layer}" for layer in layers), "norm"]
        self.picked = [(layers.index(head.layer), head.head) for head in picked]
        self.prompts = sum(len(group.suffixes) for group in passes)

    def run(self, frames: Tensor) -> Tensor:
        """Frames uint8 [B, F, H, W, 3] on the device to features float32 [prompts, B, n, D]."""
        engine = self.engine
        with engine.watch("vision"):
            vision = engine.backbone.encode(engine.backbone.pixels(frames, engine.dtype))
        features: dict[int, Tensor] = {}
        for group in self.passes:
            with engine.watch("prefill"):
                asked = self._asked(group, len(frames))
                engine._prefill(group, vision, asked.cache)
            with engine.watch("suffix"):
                prompts = [suffix.prompt for suffix in group.suffixes]
                features |= zip(prompts, asked.replay(partial(self._finish, asked)), strict=True)
        return torch.stack([features[i] for i in range(self.prompts)])

    def _asked(self, group: _Pass, batch: int) -> _Asked:
        """The memory and the record of a group's prompts on so many segments; kept for the next."""
        kept = self.engine._asked
        work = (group.asked, self.layers, self.picked, self.states, batch)
        for index, asked in enumerate(kept):
            if asked.work == work:
                kept.append(kept.pop(index))
                asked.cache.empty()
                return asked
        del kept[: len(kept) + 1 - _KEPT]
        room = max(len(suffix.ids) for suffix in group.suffixes)
        cache = PrefixCache(self.layers[-1] + 1, room)
        kept.append(_Asked(work, group.suffixes, batch, cache, Replay(self.engine.device)))
        return kept[-1]

    def _finish(self, asked: _Asked) -> Tensor:
        return torch.stack([self._read(s, asked.cache, asked.batch) for s in asked.suffixes])

    def _read(self, suffix: _Suffix, cache: PrefixCache, batch: int) -> Tensor:
        engine = self.engine
        with Tap(engine.backbone.decoder, self.taps, stop=True) as tap:
            engine.backbone.decoder(
                inputs_embeds=engine.backbone.embed(suffix.ids, batch),
                position_ids=_batched(suffix.positions),
                past_key_values=cache,
                use_cache=True,
            )
        heads = torch.stack(tap.values, dim=1).float()  # [B, layers, H*D]
        if self.states:  # [B, layers + 1, hidden]
            return heads
        heads = heads.reshape(batch, len(self.layers), engine.info.heads, engine.info.head_dim)
        if not self.picked:
            return heads.flatten(1, 2)
        return torch.stack([heads[:, layer, head] for layer, head in self.picked], dim=1)


def _part(text: str) -> dict[str, str]:
    """A part of a chat message."""
    return {"type": "text", "text": text}


def _batched(positions: Tensor) -> Tensor:
    """Positions [1, T] as they are, [3, T] (multimodal rotary) as [3, 1, T]."""
    return positions if len(positions) == 1 else positions[:, None]


class _Host:
    """Features on their way to the host: one copy a batch, waited for one batch later."""

    def __init__(self, features: Tensor, start: int, stop: int) -> None:
        self.start, self.stop = start, stop
        self._done: torch.cuda.Event | None = None
        self._values = features
        if features.is_cuda:
            self._values = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
            self._values.copy_(features, non_blocking=True)
            self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._done.record()

    def wait(self) -> NDArray[np.float32]:
        """Features [prompts, B, n, D]."""
        if self._done is not None:
            self._done.synchronize()
        values: NDArray[np.float32] = self._values.numpy()
        return values


class _Reader:
    """Reads batches of frames, the next one in a thread while the current one is computed."""

    def __init__(self, frames: Any, device: torch.device) -> None:
        self.frames = frames
        self.device = device
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="hhvad-reader")
        self.ahead: tuple[int, int, Future[Tensor]] | None = None

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)

    def read(self, start: int, stop: int, following: int) -> Tensor:
        """Segments [start, stop) on the device; begins to read [stop, following)."""
        ahead, self.ahead = self.ahead, None
        block = ahead[2].result() if ahead is not None else None  # one reader at a time
        if block is None or ahead is None or ahead[:2] != (start, stop):
            block = self._load(start, stop)
        if following > stop:
            self.ahead = (stop, following, self.pool.submit(self._load, stop, following))
        return block.to(self.device, non_blocking=True)

    def _load(self, start: int, stop: int) -> Tensor:
        block = np.ascontiguousarray(self.frames[start:stop])
        tensor = torch.from_numpy(block if block.flags.writeable else block.copy())
        return tensor.pin_memory() if self.device.type == "cuda" else tensor


class _BatchSize:
    """How many segments a batch holds: fixed, halved where memory runs out."""

    def __init__(self, size: int) -> None:
        self.size = size

    def ran(self, segments: int, began: float) -> None:
        """A batch was computed (or, on a GPU, launched)."""

    def failed(self, segments: int) -> None:
        """A batch did not fit: never that many again."""
        self.size = max(1, segments // 2)


class _GrowingBatchSize(_BatchSize):
    """Doubled on a GPU as long as a segment gets at least 3 % cheaper and memory allows it.

    While it grows, every batch is waited for; once it is settled, batches overlap.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(1)
        self.device = device
        self.settled = False
        self.warmed = 0
        self.best = float("inf")
        self.resident = torch.cuda.memory_allocated(device)  # the weights

    def ran(self, segments: int, began: float) -> None:
        if self.settled or segments < self.size:
            return
        torch.cuda.synchronize(self.device)
        if self.warmed < 2:  # the first batches of a size pay for kernels and for their recording
            self.warmed += 1
            return
        cost = (time.perf_counter() - began) / segments
        peak = torch.cuda.max_memory_allocated(self.device)
        total = torch.cuda.mem_get_info(self.device)[1]
        if cost > self.best * 0.97:
            self.size, self.settled = self.size // 2, True
        elif self.resident + 2 * (peak - self.resident) > 0.9 * total:
            self.settled = True
        else:
            self.best = cost
            self.size *= 2
            self.warmed = 0
        if self.settled:
            log.info("batches of %d segments", self.size)

    def failed(self, segments: int) -> None:
        super().failed(segments)
        self.settled = True


def _out_of_memory(error: RuntimeError) -> bool:
    # On a CPU torch raises a plain RuntimeError.
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _release(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()


# Loading


def commit_of(folder: Path | None) -> str | None:
    """The commit of a hub id's folder in huggingface_hub's cache; None for any other folder."""
    if folder is not None and folder.parent.name == "snapshots":
        return folder.name
    return None


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ModelError(f"device {name!r} is unknown: use auto, cpu or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise ModelError(f"device {name!r} is not supported: use auto, cpu or cuda:N")
    if device.type == "cuda":
        index = device.index or 0
        if index >= torch.cuda.device_count():
            raise ModelError(
                f"device {name!r} is not here ({torch.cuda.device_count()} GPUs are): use cpu or "
                "another one, or install the CUDA build of torch"
            )
        device = torch.device("cuda", index)
    return device


def _folder(model: str, revision: str | None) -> Path:
    """The folder of a checkpoint; a hub id is downloaded into huggingface_hub's cache."""
    folder = Path(resolve(model))
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    with _quiet():
        try:
            return Path(
                snapshot_download(
                    model,
                    revision=revision,
                    allow_patterns=["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"],
                )
            )
        except (OSError, HfHubHTTPError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(
                f"{model}: there is no such folder, and the hub does not give revision "
                f"{revision or 'main'} of that id ({reason}): check the id, the network and, for "
                "a gated model, the access token; or download it and give its folder"
            ) from error


def _adapter(folder: Path) -> type[Backbone]:
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: config.json is absent: not a transformers checkpoint")
    config = read_object(folder / "config.json")
    if "quantization_config" in config:
        raise ModelError(f"{folder}: quantised checkpoints are not supported; use the original")
    try:
        return find(str(config.get("model_type")))
    except ModelError as error:
        raise ModelError(f"{folder / 'config.json'}: {error}") from None


def _tokenizer(folder: Path) -> Any:
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise ModelError(
            f"{folder}: the tokenizer is absent (none of {', '.join(_TOKENIZER_FILES)}): download "
            "it with the weights"
        )
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(  # nosec B615
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{folder}: the tokenizer cannot be loaded ({reason})") from error
    template = folder / "chat_template.json"  # older checkpoints keep the processor's apart
    if template.is_file():
        tokenizer.chat_template = read_object(template).get(
            "chat_template", tokenizer.chat_template
        )
    return tokenizer


def _network(folder: Path, name: str, dtype: str, attention: str = "sdpa") -> Any:
    wanted = "auto" if dtype == "auto" else DTYPES[dtype]
    try:
        network, report = getattr(transformers, name).from_pretrained(
            folder,
            dtype=wanted,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation=attention,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{folder}: the weights cannot be loaded as {name} ({reason})") from error
    for key, what in (("missing_keys", "lack"), ("mismatched_keys", "have another shape for")):
        names = [n if isinstance(n, str) else n[0] for n in report.get(key) or ()]
        names = sorted(n for n in names if not n.startswith("lm_head"))
        if names:
            raise ModelError(
                f"{folder}: the weights {what} {names[0]!r} and {len(names) - 1} more that "
                "config.json asks for: not a whole checkpoint of this architecture"
            )
    return network


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers without its warnings and progress bars: what matters is raised as an error."""
    from transformers.utils import logging as chatter

    level, bars = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    try:
        yield
    finally:
        chatter.set_verbosity(level)
        if bars:
            chatter.enable_progress_bar()
