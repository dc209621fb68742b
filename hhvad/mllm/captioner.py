"""BLIP-2, which only captions: one picture and at most the beginning of a sentence to a text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import GenerationConfig

from hhvad.errors import ModelError
from hhvad.mllm.backbones.backbone import Pixels
from hhvad.mllm.head import Answer, plain

# The class in transformers by `model_type`.
CAPTIONERS = {"blip-2": "Blip2ForConditionalGeneration"}


class Captioner:
    """A loaded captioner; `info` is as of a text decoder (hhvad.mllm.load).

    ends: the tokens that end a caption.
    """

    def __init__(
        self, model: Any, tokenizer: Any, pixels: Pixels, ends: set[int], info: Any
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.pixels = pixels
        self.ends = ends
        self.info = info

    def __str__(self) -> str:
        return f"{self.info.architecture}, {self.info.dtype} on {self.info.device}"

    def text(
        self, prompt: str, n_frames: int, size: tuple[int, int] | None = None, system: str = ""
    ) -> str:
        """What a caption begins with: visual tokens with their count, and the prompt."""
        check_request(self.pixels, n_frames, size, system)
        return f"<image>x{self.model.config.num_query_tokens}{prompt}"

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
        """A caption of every picture, greedily; after `prompt`, where it is not empty.

        frames: [S, 1, H, W, 3] uint8, run in their order, batch_size at a time. Raises ModelError
        for several frames at once, a wrong size, a system message, and a text that the context
        does not hold.
        """
        check_request(self.pixels, frames.shape[1], frames.shape[2:4], system)
        start = self._start(prompt)
        context = getattr(self.model.config.text_config, "max_position_embeddings", None)
        if context is not None and len(start) + max_tokens > context:
            raise ModelError(
                f"picture, prompt and caption take {len(start) + max_tokens} tokens, the model's "
                f"context holds {context}: take a shorter prompt or a lower limit of the caption"
            )
        answers: list[Answer] = []
        with torch.inference_mode():
            for first in range(0, len(frames), batch_size):
                block = np.ascontiguousarray(frames[first : first + batch_size])
                answers += [self._answer(ids) for ids in self._write(block, start, max_tokens)]
                if progress is not None:
                    progress(len(answers), len(frames))
        return answers

    def _start(self, prompt: str) -> list[int]:
        """Tokens of picture and prompt; without one, the token with which texts begin."""
        config = self.model.config
        visual = [config.image_token_index] * config.num_query_tokens
        if prompt:
            return visual + list(self.tokenizer(prompt, split_special_tokens=True)["input_ids"])
        begin = config.text_config.bos_token_id
        return visual if begin is None else [*visual, begin]

    def _write(
        self, block: NDArray[np.uint8], start: list[int], max_tokens: int
    ) -> list[list[int]]:
        model, text = self.model, self.model.config.text_config
        frames = torch.from_numpy(block).to(model.device)
        pixels = self.pixels(frames, model.dtype)[:, 0]
        ids = torch.tensor([start] * len(block), device=model.device)
        how = GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=max_tokens,
            eos_token_id=sorted(self.ends),
            pad_token_id=text.pad_token_id,
            bos_token_id=text.bos_token_id,
            decoder_start_token_id=getattr(text, "decoder_start_token_id", None),
        )
        written = model.generate(pixel_values=pixels, input_ids=ids, generation_config=how)
        skipped = 1 if text.is_encoder_decoder else len(start)
        rows: list[list[int]] = written[:, skipped:].tolist()
        return rows

    def _answer(self, ids: list[int]) -> Answer:
        end = next((place for place, token in enumerate(ids) if token in self.ends), None)
        said = plain(self.tokenizer.decode(ids[:end], skip_special_tokens=True))
        return Answer(said, len(ids) if end is None else end, cut=end is None)


def check_request(pixels: Pixels, n_frames: int, size: Any, system: str) -> None:
    """ModelError where BLIP-2 cannot be asked this."""
    if n_frames != 1:
        raise ModelError(
            f"blip-2 sees one picture at once, not {n_frames} frames: set frames_shown to 1"
        )
    if system:
        raise ModelError("blip-2 takes no system message: leave it empty")
    if size is not None and pixels.size is not None and tuple(size) != pixels.size:
        raise ModelError(
            f"frames are {size[0]}x{size[1]}, the model wants {pixels.size[0]}x{pixels.size[1]} "
            "(height x width): set the model's `size` in the config"
        )
