"""Random checkpoints of the real classes, small, with real tokenizers, saved as real folders."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    InternVLConfig,
    InternVLForConditionalGeneration,
    PreTrainedTokenizerFast,
)

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'video' %}{{ '<video>\n' }}"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TEXT = [
    "Is there anything abnormal or dangerous in these video frames? Answer yes or no.",
    "Frame1: Frame2: describe what happens: a fight, a fire, a robbery, an explosion, a crash",
]


def tokenizer(specials: list[str], template: str, **extra: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE with some merges, as Qwen's."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300 + len(specials),
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>", *specials],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=template,
        **extra,
    )


def write_preprocessor(folder: Path, **settings: object) -> None:
    common = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    common |= {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(common | settings))


def randomise(model: torch.nn.Module) -> None:
    """Weights large enough that an error in the order of heads or tokens cannot hide."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if "norm" in name and name.endswith("weight"):
                weight.copy_(1 + 0.1 * noise)
            elif weight.ndim > 1:
                weight.copy_(noise / weight[0].numel() ** 0.5)
            else:
                weight.copy_(0.1 * noise)


def save(model: torch.nn.Module, words: PreTrainedTokenizerFast, folder: Path, **size: object):
    model.eval()
    randomise(model)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    write_preprocessor(folder, **size)
    return folder


def internvl(folder: Path, *, text: str = "qwen2", tie: bool = False, layers: int = 4) -> Path:
    words = tokenizer(["<IMG_CONTEXT>", "<img>", "</img>"], CHATML)
    config = InternVLConfig(
        image_token_id=words.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        tie_word_embeddings=tie,
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 48,
            "image_size": [32, 32],
            "patch_size": [8, 8],
        },
        text_config={
            "model_type": text,
            "vocab_size": len(words),
            "hidden_size": 48,
            "intermediate_size": 64,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "tie_word_embeddings": tie,
        },
    )
    model = InternVLForConditionalGeneration(config)
    return save(model, words, folder, size={"height": 32, "width": 32})
