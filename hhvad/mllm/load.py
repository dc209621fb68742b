"""One way to load any model: its role follows from the `model_type` of its config."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from hhvad.checkpoint import kind_of, stamp
from hhvad.errors import ModelError
from hhvad.mllm import engine
from hhvad.mllm.backbones.backbone import BACKBONES, Pixels
from hhvad.mllm.captioner import CAPTIONERS, Captioner
from hhvad.mllm.complete import Messages, choose, complete
from hhvad.mllm.encoders.encoder import ENCODERS, Encoder
from hhvad.mllm.float8 import use_float8
from hhvad.mllm.head import Answer, end_tokens, output_head
from hhvad.mllm.sample import Sampling
from hhvad.mllm.weights import (
    check_float8,
    check_weights,
    choose_precision,
    computes,
    cpu_flags,
    free_memory,
)


def load(
    model: str,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> engine.Engine | TextDecoder | Encoder | Captioner:
    """A multimodal backbone; a captioner, text decoder or encoder where the checkpoint is one.

    The arguments are those of Engine.load. Raises ModelError.
    """
    folder = engine._folder(model, revision)
    kind = kind_of(folder)
    is_encoder = kind in ENCODERS
    is_decoder = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    is_captioner = kind in CAPTIONERS
    if kind in BACKBONES or not (is_encoder or is_decoder or is_captioner):
        return engine.Engine.load(
            model, revision=revision, dtype=dtype, device=device, threads=threads
        )
    target = engine._device(device)
    if dtype == "float8":
        check_float8(target)
        if not is_decoder:
            raise ModelError(f"{model}: dtype float8 is for models that answer, not for {kind!r}")
    if threads is not None:
        torch.set_num_threads(threads)
    check_weights(folder, dtype)
    precision = choose_precision(folder, dtype, target.type, cpu_flags(), free_memory())
    with engine._quiet():
        tokenizer = engine._tokenizer(folder)
        name = "AutoModel" if is_encoder else "AutoModelForCausalLM"
        attention = ENCODERS[str(kind)].attention if is_encoder else "sdpa"
        name = CAPTIONERS.get(kind or "", name)
        network = engine._network(folder, name, precision.dtype, attention)
    base = network.base_model if is_decoder else network
    try:
        base = base.eval().requires_grad_(False).to(target)
    except torch.OutOfMemoryError as error:
        raise ModelError(f"{model}: its weights do not fit into the memory of {target}") from error
    computed = str(base.dtype).removeprefix("torch.")
    if dtype == "float8":
        use_float8(base)
        computed = dtype
    info = LoadedInfo(
        architecture=network.config.model_type,
        dtype=computed,
        device=str(target),
        fingerprint=stamp(str(folder)),
        dtype_reason=precision.reason,
        commit=engine.commit_of(folder),
    )
    if is_encoder:
        return Encoder(base, tokenizer, Pixels.read(folder), info)
    if is_captioner:
        ends = end_tokens(folder, tokenizer) | {network.config.text_config.eos_token_id}
        return Captioner(base, tokenizer, Pixels.read(folder), ends - {None}, info)
    head = output_head(folder, network.config, base)
    return TextDecoder(base, head, tokenizer, end_tokens(folder, tokenizer), info)


@dataclass(frozen=True)
class LoadedInfo:
    """What a loaded text decoder, encoder or captioner is."""

    architecture: str
    dtype: str
    device: str
    fingerprint: str
    dtype_reason: str = ""
    commit: str | None = None
    torch: str = torch.__version__
    transformers: str = transformers.__version__


class TextDecoder:
    """A causal language model that answers chat messages."""

    def __init__(
        self, decoder: Any, head: Tensor, tokenizer: Any, ends: set[int], info: LoadedInfo
    ) -> None:
        self.decoder = decoder
        self.head = head
        self.tokenizer = tokenizer
        self.ends = ends
        self.info = info

    def __str__(self) -> str:
        return f"{self.info.architecture}, {computes(self.info)}"

    def complete(
        self,
        conversations: Sequence[Messages],
        *,
        max_tokens: int,
        batch_size: int,
        sampling: Sampling | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Answer]:
        """What it answers to each conversation (hhvad.mllm.complete)."""
        return complete(
            self.decoder,
            self.head,
            self.tokenizer,
            conversations,
            ends=self.ends,
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
        return choose(
            self.decoder,
            self.head,
            self.tokenizer,
            conversations,
            choices,
            batch_size=batch_size,
            context=self._context,
            progress=progress,
        )

    @property
    def _context(self) -> int | None:
        """How many tokens it holds, None where its config does not say."""
        return getattr(self.decoder.config, "max_position_embeddings", None)
