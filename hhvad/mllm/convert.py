"""Checkpoints in the InternVL2 layout, as transformers' own InternVL loads them.

InternVLChatModel (InternVL2, 2.5, 3 and HolmesVAU-2B) ships its own code; this writes the same
weights under the names of `InternVLForConditionalGeneration`. InternLM2 becomes Llama: its fused
`wqkv` is cut into the q heads of each group, then k, then v. Both rotate half of each head. Qwen2
keeps its names. Nothing is computed but these cuts, so the numbers stay exactly the same.

Config and safetensors are read and nothing else: no code of the checkpoint runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError  # nosec B403: an error's name; nothing is unpickled
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hhvad.errors import ConfigError, ModelError
from hhvad.files import atomic_folder, atomic_path, write_json, write_text
from hhvad.methods.scorer.network import check
from hhvad.mllm.backbones.backbone import read_object
from hhvad.mllm.engine import _quiet, _tokenizer
from hhvad.mllm.weights import header

IMAGE_TOKEN = "<IMG_CONTEXT>"
END_TOKEN = "<|im_end|>"
# Where a checkpoint of InternLM2 has its special tokens; its tokenizer.model does not say so.
INTERNLM2_TOKENS = {"<s>": 1, "</s>": 2, END_TOKEN: 92542, IMAGE_TOKEN: 92546}
_FLOATS = ("F64", "F32", "F16", "BF16")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")

Cut = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Source:
    """A tensor of the source: its shape, and which part of it gets which new name."""

    shape: tuple[int, ...]
    parts: dict[str, Cut]


def convert(
    source: Path,
    out: Path,
    *,
    tokenizer: Path | None = None,
    image_token_id: int | None = None,
    system: str = "",
) -> dict[str, Any]:
    """Write a checkpoint folder that transformers loads; what it is, for a person.

    tokenizer: a folder with a tokenizer of this family in transformers' form; by default the
    source's own, where that is in such a form. image_token_id: where no tokenizer tells it.
    system: the message before a conversation that has none. Raises ModelError for a tensor or
    setting that is unknown, missing or of another shape, ConfigError where `out` exists; then
    nothing is left of `out`.
    """
    if out.exists():
        raise ConfigError(f"{out}: is there already; name a new folder")
    path = source / "config.json"
    given = read_object(path)
    check_config(given, path)
    tensors = expected(given)
    files = weights(source)
    check_tensors(tensors, files, tied=bool(given["llm_config"].get("tie_word_embeddings")))
    folder = tokenizer or (source if _has_tokenizer(source) else None)
    words = None if folder is None else _read_tokenizer(folder, source, given)
    image = _image_token(words, image_token_id, given, path)
    with atomic_folder(out) as partial:
        written = _write_weights(tensors, files, partial)
        config = native_config(given, image, tied=not any("lm_head" in name for name in written))
        write_json(partial / "config.json", config)
        write_json(partial / "generation_config.json", _generation(given, words))
        write_json(partial / "preprocessor_config.json", _preprocessor(config))
        if words is not None:
            words.chat_template = None
            words.save_pretrained(partial)
            begin = words.bos_token if given["llm_config"]["model_type"] == "internlm2" else None
            write_text(partial / "chat_template.jinja", chat_template(begin or "", system))
    return {
        "decoder": config["text_config"]["model_type"],
        "tensors": len(written),
        "image_token_id": image,
        "tokenizer": None if folder is None else str(folder),
    }


def convert_scorer(source: Path, out: Path) -> int:
    """Write the UR-DMU head of a .pth as safetensors; its number of parameters.

    The file is read with weights-only loading, which runs nothing of it. Raises ModelError where it
    cannot be read so, or holds other parameters.
    """
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except (OSError, LookupError, RuntimeError, EOFError, UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{source}: cannot be read as plain tensors ({reason})") from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(t, Tensor) for t in content.values()):
        raise ModelError(f"{source}: is no set of named tensors")
    named = {str(name).removeprefix("module."): tensor for name, tensor in content.items()}
    check({name: tuple(tensor.shape) for name, tensor in named.items()}, str(source))
    weights = {name: tensor.float().contiguous() for name, tensor in sorted(named.items())}
    with atomic_path(out) as partial:
        save_file(weights, partial)
    return sum(tensor.numel() for tensor in weights.values())


# --- config ---------------------------------------------------------------------------------------


def check_config(config: Mapping[str, Any], path: Path) -> None:
    """ModelError for what is not of this layout, or what transformers' class computes otherwise."""
    decoder, vision = config.get("llm_config"), config.get("vision_config")
    if config.get("model_type") != "internvl_chat" or not (decoder and vision):
        raise ModelError(
            f"{path}: model_type is {config.get('model_type')!r}; only internvl_chat (the layout "
            "of InternVL2) is converted"
        )
    kind = decoder.get("model_type")
    scaling = decoder.get("rope_scaling") or {}
    wanted: list[tuple[str, Any, tuple[Any, ...]]] = [
        ("llm_config.model_type", kind, ("internlm2", "qwen2")),
        ("ps_version", config.get("ps_version"), ("v2",)),
        ("select_layer", config.get("select_layer", -1), (-1,)),
        ("quantization_config", config.get("quantization_config"), (None,)),
        ("llm_config.quantization_config", decoder.get("quantization_config"), (None,)),
        (
            "llm_config.rope_scaling.type",
            scaling.get("type", scaling.get("rope_type", "default")),
            ("default", "dynamic", "linear"),
        ),
        ("vision_config.norm_type", vision.get("norm_type"), ("layer_norm", "rms_norm")),
        (
            "force_image_size",
            config.get("force_image_size") or vision.get("image_size"),
            (vision.get("image_size"),),
        ),
    ]
    if kind == "internlm2":
        wanted.append(("llm_config.bias", decoder.get("bias", False), (False,)))
    for key, value, known in wanted:
        if value not in known:
            raise ModelError(f"{path}: {key} is {value!r}; converted is {_listed(known)}")


def _listed(values: Iterable[Any]) -> str:
    return " or ".join(repr(value) for value in values)


_TEXT_KEYS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "rms_norm_eps",
    "hidden_act",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)
_QWEN2_KEYS = ("use_sliding_window", "sliding_window", "max_window_layers")
_VISION_KEYS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_channels",
    "hidden_act",
    "norm_type",
    "layer_norm_eps",
)


def native_config(given: Mapping[str, Any], image_token_id: int, *, tied: bool) -> dict[str, Any]:
    """The config of `InternVLForConditionalGeneration` for a config of this layout."""
    decoder, vision = given["llm_config"], given["vision_config"]
    is_qwen = decoder["model_type"] == "qwen2"
    scaling = decoder.get("rope_scaling") or {}
    rope = {
        "rope_theta": float(decoder.get("rope_theta", 10000.0)),
        "rope_type": scaling.get("type", scaling.get("rope_type", "default")),
    }
    if "factor" in scaling:
        rope["factor"] = float(scaling["factor"])
    text = {
        "model_type": "qwen2" if is_qwen else "llama",
        **{key: decoder[key] for key in _TEXT_KEYS if key in decoder},
        "rope_parameters": rope,
        "tie_word_embeddings": tied,
    }
    if is_qwen:
        text |= {key: decoder[key] for key in _QWEN2_KEYS if key in decoder}
    else:
        text |= {"attention_bias": False, "mlp_bias": False}
    side, patch = vision["image_size"], vision["patch_size"]
    pooled = int(1 / given["downsample_ratio"]) ** 2
    return {
        "architectures": ["InternVLForConditionalGeneration"],
        "model_type": "internvl",
        "downsample_ratio": given["downsample_ratio"],
        "image_seq_length": (side // patch) ** 2 // pooled,
        "image_token_id": image_token_id,
        "projector_hidden_act": "gelu",
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "default",
        "tie_word_embeddings": tied,
        "text_config": text,
        "vision_config": {
            "model_type": "internvl_vision",
            **{key: vision[key] for key in _VISION_KEYS if key in vision},
            "image_size": [side, side],
            "patch_size": [patch, patch],
            "attention_bias": bool(vision.get("qkv_bias", False)),
            "use_qk_norm": bool(vision.get("qk_normalization", False)),
            "use_absolute_position_embeddings": True,
            "use_mask_token": False,
            "use_mean_pooling": True,
        },
    }


def _generation(given: Mapping[str, Any], words: Any) -> dict[str, Any]:
    """Where an answer ends: at the end of a turn or of the text."""
    decoder = given["llm_config"]
    ends = [decoder.get("eos_token_id")]
    if words is not None:
        ends.insert(0, words.convert_tokens_to_ids(END_TOKEN))
    elif decoder["vocab_size"] > INTERNLM2_TOKENS[END_TOKEN] and (
        decoder["model_type"] == "internlm2"
    ):
        ends.insert(0, INTERNLM2_TOKENS[END_TOKEN])
    return {"eos_token_id": [end for end in dict.fromkeys(ends) if end is not None]}


def _preprocessor(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every model of the family takes ImageNet's mean and deviation."""
    height, width = config["vision_config"]["image_size"]
    return {
        "image_processor_type": "GotOcr2ImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }


# --- tensors --------------------------------------------------------------------------------------


def expected(given: Mapping[str, Any]) -> dict[str, Source]:
    """Every tensor that a checkpoint of this config has, by its name in the source."""
    return {**_vision(given), **_projector(given), **_decoder(given["llm_config"])}


def _same(name: str, *shape: int) -> Source:
    return Source(shape, {name: lambda tensor: tensor})


def _rows(start: int, end: int) -> Cut:
    return lambda tensor: tensor[start:end]


def _vision(given: Mapping[str, Any]) -> dict[str, Source]:
    vision = given["vision_config"]
    width, inner = vision["hidden_size"], vision["intermediate_size"]
    patch, channels = vision["patch_size"], vision.get("num_channels", 3)
    places = (vision["image_size"] // patch) ** 2 + 1
    old, new = "vision_model.embeddings", "vision_tower.embeddings"
    found = {
        f"{old}.class_embedding": _same(f"{new}.cls_token", 1, 1, width),
        f"{old}.position_embedding": _same(f"{new}.position_embeddings", 1, places, width),
    }
    shapes: dict[str, tuple[int, ...]] = {
        "weight": (width, channels, patch, patch),
        "bias": (width,),
    }
    for kind, shape in shapes.items():
        projection = f"{new}.patch_embeddings.projection.{kind}"
        found[f"{old}.patch_embedding.{kind}"] = _same(projection, *shape)
    for layer in range(vision["num_hidden_layers"]):
        old = f"vision_model.encoder.layers.{layer}"
        new = f"vision_tower.encoder.layer.{layer}"
        for theirs, ours, shape in (
            ("ls1", "lambda_1", (width,)),
            ("ls2", "lambda_2", (width,)),
            ("attn.proj.weight", "attention.projection_layer.weight", (width, width)),
            ("attn.proj.bias", "attention.projection_layer.bias", (width,)),
            ("mlp.fc1.weight", "mlp.fc1.weight", (inner, width)),
            ("mlp.fc1.bias", "mlp.fc1.bias", (inner,)),
            ("mlp.fc2.weight", "mlp.fc2.weight", (width, inner)),
            ("mlp.fc2.bias", "mlp.fc2.bias", (width,)),
        ):
            found[f"{old}.{theirs}"] = _same(f"{new}.{ours}", *shape)
        for theirs, ours in (("norm1", "layernorm_before"), ("norm2", "layernorm_after")):
            kinds = ("weight", "bias") if vision["norm_type"] == "layer_norm" else ("weight",)
            for kind in kinds:
                found[f"{old}.{theirs}.{kind}"] = _same(f"{new}.{ours}.{kind}", width)
        if vision.get("qk_normalization"):
            for norm in ("q_norm", "k_norm"):
                found[f"{old}.attn.{norm}.weight"] = _same(f"{new}.attention.{norm}.weight", width)
        kinds = ("weight", "bias") if vision.get("qkv_bias") else ("weight",)
        for kind in kinds:
            found[f"{old}.attn.qkv.{kind}"] = Source(
                (3 * width, width) if kind == "weight" else (3 * width,),
                {
                    f"{new}.attention.{name}_proj.{kind}": _rows(i * width, (i + 1) * width)
                    for i, name in enumerate("qkv")
                },
            )
    return found


def _projector(given: Mapping[str, Any]) -> dict[str, Source]:
    wide = given["vision_config"]["hidden_size"] * int(1 / given["downsample_ratio"]) ** 2
    width = given["llm_config"]["hidden_size"]
    shapes = {
        ("0", "layer_norm"): ((wide,), (wide,)),
        ("1", "linear_1"): ((width, wide), (width,)),
        ("3", "linear_2"): ((width, width), (width,)),
    }
    return {
        f"mlp1.{theirs}.{kind}": _same(f"multi_modal_projector.{ours}.{kind}", *shape)
        for (theirs, ours), both in shapes.items()
        for kind, shape in zip(("weight", "bias"), both, strict=True)
    }


def _decoder(decoder: Mapping[str, Any]) -> dict[str, Source]:
    width, inner, vocabulary = (
        decoder[key] for key in ("hidden_size", "intermediate_size", "vocab_size")
    )
    heads, groups = decoder["num_attention_heads"], decoder["num_key_value_heads"]
    head = width // heads
    fused = decoder["model_type"] == "internlm2"
    names = {
        "embed_tokens": "tok_embeddings" if fused else "embed_tokens",
        "input_layernorm": "attention_norm" if fused else "input_layernorm",
        "post_attention_layernorm": "ffn_norm" if fused else "post_attention_layernorm",
        "self_attn.o_proj": "attention.wo" if fused else "self_attn.o_proj",
        "mlp.gate_proj": "feed_forward.w1" if fused else "mlp.gate_proj",
        "mlp.up_proj": "feed_forward.w3" if fused else "mlp.up_proj",
        "mlp.down_proj": "feed_forward.w2" if fused else "mlp.down_proj",
    }
    body = "language_model.model"
    output = "language_model.output" if fused else "language_model.lm_head"
    found = {
        f"{body}.{names['embed_tokens']}.weight": _same(
            f"{body}.embed_tokens.weight", vocabulary, width
        ),
        f"{body}.norm.weight": _same(f"{body}.norm.weight", width),
        f"{output}.weight": _same("language_model.lm_head.weight", vocabulary, width),
    }
    shapes: dict[str, tuple[int, ...]] = {
        "input_layernorm": (width,),
        "post_attention_layernorm": (width,),
        "self_attn.o_proj": (width, width),
        "mlp.gate_proj": (inner, width),
        "mlp.up_proj": (inner, width),
        "mlp.down_proj": (width, inner),
    }
    for layer in range(decoder["num_hidden_layers"]):
        at = f"{body}.layers.{layer}"
        for ours, shape in shapes.items():
            found[f"{at}.{names[ours]}.weight"] = _same(f"{at}.{ours}.weight", *shape)
        if fused:
            parts: dict[str, Cut] = {
                f"{at}.self_attn.{name}_proj.weight": _of_groups(name, heads, groups)
                for name in "qkv"
            }
            rows = (heads + 2 * groups) * head
            found[f"{at}.attention.wqkv.weight"] = Source((rows, width), parts)
            continue
        for name, rows in (("q", heads * head), ("k", groups * head), ("v", groups * head)):
            projection = f"{at}.self_attn.{name}_proj"
            found[f"{projection}.weight"] = _same(f"{projection}.weight", rows, width)
            found[f"{projection}.bias"] = _same(f"{projection}.bias", rows)
    return found


def _of_groups(name: str, heads: int, groups: int) -> Cut:
    """q, k or v of a fused [groups, heads / groups + 2, head, width]."""
    share = heads // groups
    rows = {"q": slice(0, share), "k": slice(share, share + 1), "v": slice(share + 1, share + 2)}

    def cut(tensor: Tensor) -> Tensor:
        width = tensor.shape[1]
        grouped = tensor.reshape(groups, share + 2, -1, width)
        return grouped[:, rows[name]].reshape(-1, width)

    return cut


# --- files ----------------------------------------------------------------------------------------


def weights(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint. Raises ModelError where there are none."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickles = [path.name for kind in _PICKLES for path in sorted(folder.glob(kind))]
        also = f" ({pickles[0]} is not opened: it may run code)" if pickles else ""
        raise ModelError(f"{folder}: no *.safetensors files{also}; take the safetensors weights")
    return files


def check_tensors(tensors: Mapping[str, Source], files: Iterable[Path], *, tied: bool) -> None:
    """ModelError names the first tensor that is unknown, missing, there twice or misshapen.

    tied: the output head may be absent.
    """
    seen: dict[str, Path] = {}
    for path in files:
        for name, entry in header(path).items():
            if name == "__metadata__":
                continue
            if name in seen:
                raise ModelError(f"{path}: tensor {name!r} is in {seen[name].name}, too")
            if name not in tensors:
                raise ModelError(
                    f"{path}: tensor {name!r} is unknown to the layout that config.json describes"
                )
            shape, wanted = tuple(entry["shape"]), tensors[name].shape
            if shape != wanted:
                raise ModelError(
                    f"{path}: tensor {name!r} has shape {list(shape)}, by config.json it has "
                    f"{list(wanted)}"
                )
            if entry["dtype"] not in _FLOATS:
                raise ModelError(
                    f"{path}: tensor {name!r} is {entry['dtype']}; packed weights are not converted"
                )
            seen[name] = path
    for name, tensor in tensors.items():
        if name not in seen and not (tied and "language_model.lm_head.weight" in tensor.parts):
            folder = next(iter(seen.values())).parent if seen else "the checkpoint"
            raise ModelError(f"{folder}: tensor {name!r} is missing; download the weights again")


def _write_weights(tensors: Mapping[str, Source], files: list[Path], out: Path) -> dict[str, str]:
    """One file for each of the source; the file of each new tensor."""
    written: dict[str, str] = {}
    total = 0
    for number, path in enumerate(files, start=1):
        name = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        name = "model.safetensors" if len(files) == 1 else name
        new: dict[str, Tensor] = {}
        try:
            with safe_open(path, framework="pt") as file:
                for key in sorted(file.keys()):
                    tensor = file.get_tensor(key)
                    for ours, cut in tensors[key].parts.items():
                        new[ours] = cut(tensor).clone().contiguous()
        except SafetensorError as error:
            raise ModelError(f"{path}: cannot be read ({error}); download it again") from error
        with atomic_path(out / name) as partial:
            save_file(new, partial, metadata={"format": "pt"})
        written |= dict.fromkeys(new, name)
        total += sum(tensor.numel() * tensor.element_size() for tensor in new.values())
    if len(files) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(written.items()))}
        write_json(out / "model.safetensors.index.json", index)
    return written


# --- tokenizer ------------------------------------------------------------------------------------


def _has_tokenizer(folder: Path) -> bool:
    """Whether a tokenizer is in a form that is read without code of the checkpoint."""
    return (folder / "tokenizer.json").is_file() or (folder / "vocab.json").is_file()


def _read_tokenizer(folder: Path, source: Path, given: Mapping[str, Any]) -> Any:
    """The tokenizer. Raises ModelError where a special token has not the checkpoint's id."""
    with _quiet():
        tokenizer = _tokenizer(folder)
    for token, wanted in _special_tokens(source, given).items():
        found = tokenizer.get_vocab().get(token)
        if found != wanted:
            raise ModelError(
                f"{folder}: token {token!r} is {found}, the checkpoint has it at {wanted}: this "
                "tokenizer is another model's; name that of the same family and decoder"
            )
    vocabulary = given["llm_config"]["vocab_size"]
    for token in (IMAGE_TOKEN, END_TOKEN):
        found = tokenizer.get_vocab().get(token)
        if found is None or found >= vocabulary:
            raise ModelError(
                f"{folder}: token {token!r} is {found}; the checkpoint's vocabulary holds "
                f"{vocabulary} tokens: name a tokenizer of this family"
            )
    return tokenizer


def _special_tokens(source: Path, given: Mapping[str, Any]) -> dict[str, int]:
    """The tokens whose ids the checkpoint tells: as a file of it, or by its family."""
    found: dict[str, int] = {}
    path = source / "tokenizer_config.json"
    if path.is_file():
        added = read_object(path).get("added_tokens_decoder") or {}
        found |= {entry["content"]: int(number) for number, entry in added.items()}
    path = source / "added_tokens.json"
    if path.is_file():
        found |= read_object(path)
    if not found and given["llm_config"]["model_type"] == "internlm2":
        return INTERNLM2_TOKENS
    return found


def _image_token(words: Any, told: int | None, given: Mapping[str, Any], path: Path) -> int:
    """The id of the token that stands for a piece of a picture."""
    decoder = given["llm_config"]
    known = None if words is None else int(words.convert_tokens_to_ids(IMAGE_TOKEN))
    if known is None and decoder["model_type"] == "internlm2":
        known = INTERNLM2_TOKENS[IMAGE_TOKEN]
    if told is not None and words is not None and told != known:
        raise ModelError(f"--image-token-id is {told}, but the tokenizer has {IMAGE_TOKEN} {known}")
    number = known if told is None else told
    if number is None or not 0 <= number < decoder["vocab_size"]:
        raise ModelError(
            f"{path}: the id of {IMAGE_TOKEN} is not known; give --tokenizer with a tokenizer of "
            "this family, or --image-token-id"
        )
    return number


def chat_template(begin: str, system: str) -> str:
    """ChatML: `begin`, then each turn; a message `system` where a conversation has none."""
    first = f"{{{{ {json.dumps(begin, ensure_ascii=False)} }}}}" if begin else ""
    if system:
        words = json.dumps(f"<|im_start|>system\n{system}{END_TOKEN}\n", ensure_ascii=False)
        first += f"{{% if messages[0]['role'] != 'system' %}}{{{{ {words} }}}}{{% endif %}}"
    return (
        first + "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
        "{% for part in message['content'] %}"
        "{% if part['type'] == 'video' %}{{ '<video>\\n' }}"
        "{% elif part['type'] == 'image' %}{{ '<IMG_CONTEXT>\\n' }}"
        "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
        "{{ '<|im_end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )
