"""Random checkpoints of the real classes, small, with real tokenizers, saved as real folders."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    AutoTokenizer,
    Blip2Config,
    Blip2ForConditionalGeneration,
    CLIPConfig,
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    MetaClip2Config,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Siglip2Config,
    Siglip2Tokenizer,
    SiglipConfig,
    VideoPrismConfig,
    VideoPrismTokenizer,
    XCLIPConfig,
)
from transformers.utils import logging


def chatml(video: str) -> str:
    """A ChatML template of a multimodal checkpoint; `video` stands where a video goes."""
    return (
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
        "{% for part in message['content'] %}"
        "{% if part['type'] == 'video' %}" + video + "{% elif part['type'] == 'text' %}"
        "{{ part['text'] }}{% endif %}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )


logging.disable_progress_bar()
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


TEXT_CONFIG = {
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def internvl(folder: Path, *, text: str = "qwen2", tie: bool = False, layers: int = 4) -> Path:
    """InternVL3 (text "qwen2") or InternVL3.5 (text "qwen3"): 4 visual tokens a 32x32 frame."""
    words = tokenizer(["<IMG_CONTEXT>", "<img>", "</img>"], chatml("{{ '<video>\n' }}"))
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
        text_config=TEXT_CONFIG
        | {
            "model_type": text,
            "vocab_size": len(words),
            "num_hidden_layers": layers,
            "head_dim": 16,
            "tie_word_embeddings": tie,
        },
    )
    model = InternVLForConditionalGeneration(config)
    return save(model, words, folder, size={"height": 32, "width": 32})


QWEN_MARKS = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]


def qwen2_5_vl(folder: Path) -> Path:
    """Frames of 32x48 in patches of 8, merged 2x2: 3 x 2 = 6 tokens each two frames."""
    words = tokenizer(QWEN_MARKS, chatml("<|vision_start|><|video_pad|><|vision_end|>"))
    config = Qwen2_5_VLConfig(
        **_qwen_tokens(words),
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": 8,
            "window_size": 32,
            "fullatt_block_indexes": [1],
            "out_hidden_size": 48,
        },
        text_config=TEXT_CONFIG
        | {
            "vocab_size": len(words),
            "num_hidden_layers": 3,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [2, 2, 2],
            },
        },
    )
    size = {"shortest_edge": 3136, "longest_edge": 12845056}
    return save(Qwen2_5_VLForConditionalGeneration(config), words, folder, size=size)


def qwen3_vl(folder: Path) -> Path:
    """The same grid; q/k norm, tied embeddings, DeepStack of two vision layers."""
    words = tokenizer(QWEN_MARKS, chatml("<|vision_start|><|video_pad|><|vision_end|>"))
    config = Qwen3VLConfig(
        **_qwen_tokens(words),
        tie_word_embeddings=True,
        vision_config={
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": 8,
            "out_hidden_size": 48,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0, 1],
        },
        text_config=TEXT_CONFIG
        | {
            "vocab_size": len(words),
            "num_hidden_layers": 4,
            "head_dim": 16,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
            },
        },
    )
    size = {"shortest_edge": 65536, "longest_edge": 16777216}
    return save(Qwen3VLForConditionalGeneration(config), words, folder, size=size)


def _qwen_tokens(words: PreTrainedTokenizerFast) -> dict[str, int]:
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    return dict(zip(names, words.convert_tokens_to_ids(QWEN_MARKS), strict=True))


def llava_onevision(folder: Path) -> Path:
    """Frames of 24x24 in patches of 8: 3x3 pooled to 2x2 tokens a frame, one newline."""
    words = tokenizer(["<image>", "<video>"], chatml("{{ '<video>\n' }}"))
    image, video = words.convert_tokens_to_ids(["<image>", "<video>"])
    config = LlavaOnevisionConfig(
        image_token_index=image,
        video_token_index=video,
        image_grid_pinpoints=[[24, 24]],
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 24,
            "patch_size": 8,
            "vision_use_head": False,
        },
        text_config=TEXT_CONFIG
        | {"model_type": "qwen2", "vocab_size": len(words), "num_hidden_layers": 3},
    )
    size = {"height": 24, "width": 24}
    return save(LlavaOnevisionForConditionalGeneration(config), words, folder, size=size)


def llama(folder: Path, *, tie: bool = False) -> Path:
    """A text decoder whose template takes strings."""
    template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] }}"
        "{{ '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    words = tokenizer([], template)
    config = LlamaConfig(
        **TEXT_CONFIG, vocab_size=len(words), num_hidden_layers=3, tie_word_embeddings=tie
    )
    model = LlamaForCausalLM(config).eval()
    randomise(model)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def letters(kind: str) -> Siglip2Tokenizer | VideoPrismTokenizer:
    """The family's own tokenizer, of which each letter is a token."""
    alphabet = ["\u2581", *"abcdefghijklmnopqrstuvwxyz."]
    if kind == "videoprism":
        scored = [(token, 0.0) for token in ("<pad>", "</s>", "<unk>")]
        return VideoPrismTokenizer(vocab=[*scored, *((one, -1.0) for one in alphabet)], extra_ids=0)
    known = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *alphabet]
    words = Siglip2Tokenizer(
        vocab={token: number for number, token in enumerate(known)},
        merges=[],
        padding_side="right",
        model_input_names=["input_ids"],
    )
    words.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", 1)]
    )
    return words


def encoder(folder: Path, kind: str) -> Path:
    """An image-text encoder: frames of 16x16, texts of at most 24 tokens."""
    words = tokenizer([], "")
    words.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|im_end|>", special_tokens=[("<|im_end|>", 2)]
    )
    side = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    side |= {"num_attention_heads": 2}
    text = side | {"vocab_size": len(words), "max_position_embeddings": 24, "eos_token_id": 2}
    vision = side | {"image_size": 16, "patch_size": 8}
    config: PretrainedConfig
    if kind in ("clip", "metaclip_2"):
        make = {"clip": CLIPConfig, "metaclip_2": MetaClip2Config}[kind]
        config = make(text_config=text, vision_config=vision, projection_dim=24)
    elif kind == "xclip":
        clips = {"num_frames": 4, "mit_hidden_size": 24, "mit_intermediate_size": 48}
        clips |= {"mit_num_hidden_layers": 1, "mit_num_attention_heads": 2}
        config = XCLIPConfig(
            text_config=text,
            vision_config=vision | clips,
            projection_dim=24,
            prompt_layers=1,
            prompt_num_attention_heads=2,
        )
    elif kind == "videoprism":
        words = letters("videoprism")
        text |= {"vocab_size": len(words), "pad_token_id": 0}
        layers = {"num_spatial_layers": 2, "num_temporal_layers": 1, "num_auxiliary_layers": 1}
        clips = side | {"image_size": 16, "num_frames": 4, "tubelet_size": [1, 8, 8]}
        config = VideoPrismConfig(text_config=text, vision_config=clips | layers)
    elif kind == "siglip2":
        words = letters("siglip2")
        text |= {"vocab_size": len(words)}
        patches = side | {"patch_size": 8, "num_patches": 16}
        config = Siglip2Config(text_config=text | {"projection_size": 32}, vision_config=patches)
    else:
        config = SiglipConfig(text_config=text | {"projection_size": 32}, vision_config=vision)
    return save(AutoModel.from_config(config), words, folder, size={"height": 16, "width": 16})


def blip2(folder: Path, text: str = "opt", dtype: str | None = None) -> Path:
    """BLIP-2 on OPT or T5: frames of 16x16, 5 visual tokens, captions that end in <|im_end|>."""
    words = tokenizer(["<image>"], "")
    words.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_end|> $A" if text == "opt" else "$A <|im_end|>",
        special_tokens=[("<|im_end|>", 2)],
    )
    side = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    side |= {"num_attention_heads": 2}
    decoder: dict[str, object] = {"model_type": text, "vocab_size": len(words), "eos_token_id": 2}
    decoder |= {"bos_token_id": 2, "pad_token_id": 0}
    if text == "opt":
        decoder |= {"hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2}
        decoder |= {"num_attention_heads": 2, "max_position_embeddings": 64}
        decoder |= {"word_embed_proj_dim": 32}
    else:
        decoder |= {"d_model": 32, "d_ff": 48, "d_kv": 16, "num_layers": 2, "num_heads": 2}
        decoder |= {"decoder_start_token_id": 0, "feed_forward_proj": "gated-gelu"}
        decoder |= {"tie_word_embeddings": False}
    config = Blip2Config(
        vision_config=side | {"image_size": 16, "patch_size": 8},
        qformer_config=side | {"vocab_size": 10},
        text_config=decoder,
        num_query_tokens=5,
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    model = Blip2ForConditionalGeneration(config)
    if dtype is not None:
        model = model.to(getattr(torch, dtype))
    return save(model, words, folder, size={"height": 16, "width": 16})


def qwen3(folder: Path) -> Path:
    """A text decoder of Qwen3's kind, whose template thinks unless it is told not to."""
    template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] }}"
        "{{ '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
        "{% if enable_thinking is defined and enable_thinking is false %}"
        "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
    )
    words = tokenizer(["<think>", "</think>"], template)
    config = Qwen3Config(**TEXT_CONFIG, head_dim=16, vocab_size=len(words), num_hidden_layers=3)
    model = Qwen3ForCausalLM(config).eval()
    randomise(model)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def teach(folder: Path, text: str) -> Path:
    """Make a saved text decoder, or the one of a multimodal model, answer `text` to whatever.

    Its layers nearly drop out, and the output head is a chain: after each token of the text the
    next one. Everything else stays random.
    """
    (path,) = folder.glob("*.safetensors")
    weights = load_file(path)
    words = AutoTokenizer.from_pretrained(folder)
    if "enable_thinking" in words.chat_template:
        opening = "</think>\n\n"
    else:
        opening = "<|im_start|>assistant\n"
    chain = words(opening + text + "<|im_end|>", add_special_tokens=False)["input_ids"]
    chain = chain[len(words(opening, add_special_tokens=False)["input_ids"]) - 1 :]
    assert len(set(chain)) == len(chain), "a chain cannot come to a token twice"
    (embeddings,) = (v for k, v in weights.items() if k.endswith("embed_tokens.weight"))
    (head,) = (key for key in weights if key.endswith("lm_head.weight"))
    for name in weights:
        if name.endswith(("self_attn.o_proj.weight", "mlp.down_proj.weight")):
            weights[name] *= 0.01
        if name.endswith(("norm.weight", "layernorm.weight")) and "vision" not in name:
            weights[name] = torch.ones_like(weights[name])
    weights[head] *= 0.01
    for token, following in pairwise(chain):
        row = embeddings[token]
        weights[head][following] = 10 * row / row.norm()
    save_file(weights, path, metadata={"format": "pt"})
    return folder
