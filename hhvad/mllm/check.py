"""Whether a checkpoint can be asked: everything that can be known without loading its weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from hhvad.checkpoint import kind_of, resolve
from hhvad.errors import ModelError
from hhvad.mllm.backbones.backbone import Pixels
from hhvad.mllm.captioner import CAPTIONERS, check_request
from hhvad.mllm.engine import Engine, _adapter, _device, _quiet, _tokenizer
from hhvad.mllm.weights import DTYPES, check_weights


def check_model(
    model: str,
    *,
    dtype: str,
    device: str,
    frames: int,
    size: tuple[int, int],
    prompts: Sequence[str],
    system: str,
) -> dict[str, Any]:
    """What a multimodal checkpoint is, if its files, device, frames and prompts fit together.

    size: height and width of the frames. Of a hub id only the device is checked, since its files
    come when the first job needs them.
    Raises ModelError for the first thing that does not fit.
    """
    for name in device.split(","):
        _device(name)
    folder = Path(resolve(model))
    if not folder.is_dir():
        return {"path": model}
    if (kind := kind_of(folder)) in CAPTIONERS:
        check_weights(folder, dtype)
        _tokenizer(folder)
        check_request(Pixels.read(folder), frames, size, system)
        return {"architecture": kind}
    for prompt in prompts:
        if not prompt.strip():
            raise ModelError(f"{model}: the prompt is empty: only BLIP-2 captions unasked")
    adapter = _adapter(folder)
    check_weights(folder, dtype)
    pixels = Pixels.read(folder, "video")
    with _quiet():
        tokenizer = _tokenizer(folder)
        config = transformers.AutoConfig.from_pretrained(  # nosec B615
            folder, local_files_only=True, trust_remote_code=False
        )
        with torch.device("meta"):
            kind = getattr(transformers, adapter.model_class)
            network = kind._from_config(config, dtype=DTYPES.get(dtype, torch.float32))
    backbone = adapter(network.model, config, tokenizer, pixels)
    engine = Engine(backbone, tokenizer, device=torch.device("cpu"), fingerprint="", folder=folder)
    backbone.check_size(*size)
    engine._plan(list(prompts), frames, *size, system)
    info = engine.info
    return {
        "architecture": info.architecture,
        "layers": info.layers,
        "heads": info.heads,
        "head_dim": info.head_dim,
    }
