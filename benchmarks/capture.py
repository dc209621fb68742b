"""What a capture costs: models of real geometry with random weights, synthetic frames, no files.

    python benchmarks/capture.py [--model internvl3-8b] [--device cuda:0] [--segments 64] ...

The table compares the engine with the naive way (the official code):
one full `generate(max_new_tokens=1)` a segment and prompt, hooks on every layer, each with a copy
to the host.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from hhvad.errors import ModelError
from hhvad.mllm.backbones.backbone import Pixels, find
from hhvad.mllm.engine import DTYPES, Engine, _device, _Job, _quiet
from hhvad.mllm.prefix import PrefixCache
from hhvad.records import HeadId

MARKS = ["<|im_start|>", "<|im_end|>", "<image>", "<video>", "<IMG_CONTEXT>", "<img>", "</img>"]
MARKS += ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
QWEN2_7B = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
}
INTERN_VIT_300M = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": [448, 448],
    "patch_size": [14, 14],
}


@dataclass(frozen=True)
class Geometry:
    """One model to build: architecture, sizes of its halves, frames a segment and their size."""

    model_type: str
    vision: dict[str, Any]
    text: dict[str, Any]
    frames: int
    size: int
    video: str = "<video>\n"
    extra: dict[str, Any] = field(default_factory=dict)


def _internvl(vision: dict[str, Any], text: dict[str, Any], frames: int) -> Geometry:
    size = vision["image_size"][0]
    tokens = (size // vision["patch_size"][0]) ** 2 // 4
    extra = {
        "image_token_id": _id("<IMG_CONTEXT>"),
        "image_seq_length": tokens,
        "tie_word_embeddings": False,
    }
    text = {"model_type": "qwen2", **text}
    return Geometry("internvl", vision, text, frames, size, extra=extra)


def _id(mark: str) -> int:
    return 256 + MARKS.index(mark)  # behind the 256 bytes


def geometries() -> dict[str, Geometry]:
    """The models that can be built, by name."""

    def text(width: int, layers: int, heads: int, factor: int = 4) -> dict[str, Any]:
        return {
            "hidden_size": width,
            "intermediate_size": factor * width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": heads,
            "vocab_size": 512,
        }

    def vit(width: int, layers: int, heads: int, size: int, patch: int) -> dict[str, Any]:
        return {
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "image_size": [size, size],
            "patch_size": [patch, patch],
        }

    qwen2_1_5b = {
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "vocab_size": 151674,
    }
    qwen_vit = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16}
    mrope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
    siglip = {
        "model_type": "siglip_vision_model",
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 26,
        "num_attention_heads": 16,
        "image_size": 384,
        "patch_size": 14,
        "vision_use_head": False,
    }
    return {
        "tiny": _internvl(vit(64, 2, 2, 56, 7), text(128, 6, 8), 8),
        "small": _internvl(vit(96, 3, 3, 128, 8), text(256, 8, 8), 16),
        "internvl3-2b": _internvl(INTERN_VIT_300M, qwen2_1_5b, 16),
        "internvl3-8b": _internvl(INTERN_VIT_300M, QWEN2_7B, 16),
        "qwen2.5-vl-7b": Geometry(
            "qwen2_5_vl",
            {**qwen_vit, "out_hidden_size": 3584},
            {**QWEN2_7B, "rope_parameters": mrope},
            16,
            448,
            video="<|vision_start|><|video_pad|><|vision_end|>",
            extra={
                "image_token_id": _id("<|image_pad|>"),
                "video_token_id": _id("<|video_pad|>"),
                "vision_start_token_id": _id("<|vision_start|>"),
                "vision_end_token_id": _id("<|vision_end|>"),
            },
        ),
        "llava-onevision-7b": Geometry(
            "llava_onevision",
            siglip,
            {"model_type": "qwen2", **QWEN2_7B},
            16,
            384,
            extra={
                "image_token_index": _id("<image>"),
                "video_token_index": _id("<video>"),
            },
        ),
    }


def build(name: str, device: str = "auto", dtype: str = "auto") -> tuple[Any, Engine, Geometry]:
    """A network of random weights, an engine on another one of the same weights, their geometry.

    The engine changes its network (hhvad.mllm.kernels); the first is as transformers makes it.
    dtype auto is bfloat16 on a GPU, float32 on a CPU. Raises ModelError for an unknown name.
    """
    known = geometries()
    if name not in known:
        raise ModelError(f"--model {name!r} is unknown; known are {', '.join(known)}")
    geometry, target = known[name], _device(device)
    if dtype == "auto":
        dtype = "bfloat16" if target.type == "cuda" else "float32"
    if dtype not in DTYPES:
        raise ModelError(f"--dtype {dtype!r} is unknown: use auto, {', '.join(DTYPES)}")
    network, own = (random_network(geometry, target, DTYPES[dtype]) for _ in range(2))
    float8 = dtype == "float8"
    tokenizer = _tokenizer(geometry.video)
    size = (geometry.size, geometry.size)
    pixels = Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1 / 255, size)
    adapter = find(geometry.model_type)
    backbone = adapter(own.model, own.config, tokenizer, pixels)
    engine = Engine(backbone, tokenizer, device=target, fingerprint="random", float8=float8)
    return network, engine, geometry


def random_network(geometry: Geometry, device: torch.device, dtype: torch.dtype) -> Any:
    """A whole transformers model, lm_head included, with the class's own random initialisation."""
    network_class = getattr(transformers, find(geometry.model_type).model_class)
    config = network_class.config_class(
        vision_config=geometry.vision, text_config=geometry.text, **geometry.extra
    )
    torch.manual_seed(0)
    with _quiet(), torch.device(device):
        network = network_class._from_config(config, dtype=dtype, attn_implementation="sdpa")
    network.generation_config.pad_token_id = 0
    return network.eval().requires_grad_(False)


def _tokenizer(video: str) -> Any:
    """Bytes and marks, no merges: a prompt of 20 letters has 20 tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.add_special_tokens(MARKS)
    template = (
        "{% for message in messages %}<|im_start|>{{ message['role'] + '\n' }}"
        "{% for part in message['content'] %}{% if part['type'] == 'video' %}{{ '"
        + video.replace("\n", "\\n")
        + "' }}{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
        "<|im_end|>{{ '\n' }}{% endfor %}<|im_start|>assistant{{ '\n' }}"
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, chat_template=template)


def prompts(count: int) -> list[str]:
    """Questions of 16 tokens, which the chat template makes about 30."""
    return [f"Any anomaly? {index:03d}" for index in range(count)]


# Measuring


class Meter:
    """Wall-clock seconds, waiting for the device before and after."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def time(self, action: Callable[[], Any]) -> float:
        """Seconds that one call takes."""
        self.wait()
        began = time.perf_counter()
        action()
        self.wait()
        return time.perf_counter() - began

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """For Engine.watch: adds up the time of each stage."""
        self.wait()
        began = time.perf_counter()
        yield
        self.wait()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


def naive(network: Any, engine: Engine, frames: NDArray[np.uint8], texts: list[str]) -> None:
    """One `generate` a segment and prompt, each layer's head outputs copied to the host at once."""
    kept: list[Tensor] = []
    hooks = [
        layer.self_attn.o_proj.register_forward_pre_hook(
            lambda _, args: kept.append(args[0][:, -1].float().cpu())
        )
        for layer in network.model.language_model.layers
    ]
    backbone, (_, count, height, width, _) = engine.backbone, frames.shape
    try:
        for segment in frames:
            for text in texts:
                kept.clear()
                shown = engine._text(text, count, height, width)
                ids = torch.tensor([engine.tokenizer(shown)["input_ids"]], device=engine.device)
                batch = torch.from_numpy(segment[None]).to(engine.device)
                inputs = _inputs(backbone, backbone.pixels(batch, engine.dtype), ids)
                network.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=1,
                    do_sample=False,
                    **inputs,
                )
                np.stack([values.numpy() for values in kept])
    finally:
        for hook in hooks:
            hook.remove()


def _inputs(backbone: Any, pixels: Tensor, ids: Tensor) -> dict[str, Any]:
    """What a family's forward pass calls its pixels."""
    if hasattr(backbone, "grid"):
        _, frames, _, height, width = pixels.shape
        return {
            "pixel_values_videos": backbone.patches(pixels),
            "video_grid_thw": torch.tensor([backbone.grid(frames, height, width)]).to(ids.device),
            "mm_token_type_ids": (ids == backbone.visual_token_id).int() * 2,
        }
    if backbone.config.model_type == "internvl":
        return {"pixel_values": pixels.flatten(0, 1)}
    return {"pixel_values_videos": pixels}


def _attention_flops(
    query: tuple[int, ...], key: tuple[int, ...], *_: Any, out_shape: Any = None, **__: Any
) -> int:
    """Two products a head; torch's own count knows no keys that several heads share."""
    batch, heads, length, width = query
    return 4 * batch * heads * length * key[-2] * width


def _counter() -> FlopCounterMode:
    return FlopCounterMode(
        display=False,
        custom_mapping={op: _attention_flops for op in KERNELS if "attention" in str(op)},
    )


def flops(engine: Engine, frames: NDArray[np.uint8], texts: list[str]) -> float:
    """Model FLOPs of one segment: matrix products and attention, the causal half counted once."""
    _, count, height, width, _ = frames.shape
    job = _Job(
        engine,
        engine._plan(texts, count, height, width),
        list(range(engine.info.layers)),
        [],
    )
    batch = torch.from_numpy(frames[:1]).to(engine.device)
    total: float = 0
    with torch.inference_mode():
        with _counter() as counter:
            vision = engine.backbone.encode(engine.backbone.pixels(batch, engine.dtype))
        total += counter.get_total_flops()
        for group in job.passes:
            with _counter() as counter:
                room = max(len(suffix.ids) for suffix in group.suffixes)
                cache = PrefixCache(engine.info.layers, room)
                engine._prefill(group, vision, cache)
            for op, number in counter.get_flop_counts()["Global"].items():
                total += number / 2 if "attention" in str(op) else number
            with _counter() as counter:
                for suffix in group.suffixes:
                    job._read(suffix, cache, 1)
            total += counter.get_total_flops()
    return total


KERNELS = {
    torch.ops.aten.mm,
    torch.ops.aten.addmm,
    torch.ops.aten._scaled_mm,
    torch.ops.aten.bmm,
    torch.ops.aten.baddbmm,
    torch.ops.aten.convolution,
    torch.ops.aten._scaled_dot_product_flash_attention,
    torch.ops.aten._scaled_dot_product_cudnn_attention,
    torch.ops.aten._scaled_dot_product_efficient_attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu,
}


@dataclass(frozen=True)
class _Like:
    """A tensor's geometry, to make another one of random numbers."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    def fill(self, device: torch.device) -> Tensor:
        shared = [stride == 0 for stride in self.stride]  # by all of that axis: a mask, say
        shape = [1 if one else size for one, size in zip(shared, self.shape, strict=True)]
        tensor = torch.empty_strided(shape, self.stride, dtype=self.dtype, device=device)
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(shape, device=device))  # float8 knows no normal_
        else:
            tensor.zero_()
        return tensor.expand(self.shape)


class KernelLog(TorchDispatchMode):  # type: ignore[misc]
    """Counts each matrix product, convolution and attention by the geometry of what enters it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, list[Any]] = {}  # text of the geometry: [count, function, arguments]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.overloadpacket not in KERNELS:
            with self:
                whole = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if whole is NotImplemented else whole
        like = tree_map_only(
            Tensor, lambda t: _Like(tuple(t.shape), t.stride(), t.dtype), (args, kwargs)
        )
        self.calls.setdefault(f"{func} {like}", [0, func, like])[0] += 1
        return func(*args, **kwargs)


def kernel_sum(engine: Engine, frames: NDArray[np.uint8], texts: list[str]) -> float:
    """Seconds a segment that its matrix products, convolutions and attention take on their own.

    Each geometry that one batch of all `frames` calls is timed alone on random numbers, the best of
    ten, times its number of calls: what a pass would take that did nothing else and never waited.
    """
    _, count, height, width, _ = frames.shape
    job = _Job(
        engine, engine._plan(texts, count, height, width), list(range(engine.info.layers)), []
    )
    meter, total = Meter(engine.device), 0.0
    engine._asked.clear()  # a replay calls nothing that could be counted
    with torch.inference_mode():
        with KernelLog() as kernels:
            job.run(torch.from_numpy(frames).to(engine.device))
        for calls, func, like in kernels.calls.values():
            args, kwargs = tree_map_only(_Like, lambda each: each.fill(engine.device), like)
            once = lambda: func(*args, **kwargs)  # noqa: B023, E731
            meter.time(once)
            inner = 5 if engine.device.type == "cuda" else 1  # launches hide behind each other

            def several() -> None:
                for _ in range(inner):  # noqa: B023
                    once()  # noqa: B023

            total += calls * min(meter.time(several) for _ in range(10 // inner)) / inner
    return total / len(frames)


def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """The FLOP/s that a large square matrix product reaches here, best of five."""
    side = 8192 if device.type == "cuda" else 1536
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    meter = Meter(device)
    meter.time(lambda: a @ b)
    return 2.0 * side**3 / min(meter.time(lambda: a @ b) for _ in range(5))


def peak_memory(device: torch.device) -> int:
    """Bytes at the peak: of the device, or of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(
    model: str,
    *,
    segments: int = 4,
    n_prompts: int = 5,
    device: str = "auto",
    dtype: str = "auto",
    batch_size: int | Literal["auto"] = "auto",
    threads: int | None = None,
    naive_segments: int = 1,
    repeats: int = 3,
) -> list[tuple[str, str]]:
    """Measure one geometry; rows of (what, value) for the table. Best of `repeats` runs each."""
    if threads is not None:
        torch.set_num_threads(threads)
    network, engine, geometry = build(model, device, dtype)
    rng = np.random.default_rng(0)
    size = geometry.size
    shape = (segments, geometry.frames, size, size, 3)
    frames = rng.integers(0, 256, shape, dtype=np.uint8)
    texts = prompts(n_prompts)
    layers = engine.info.layers
    deepest = max(1, 2 * layers // 3) - 1  # the last layer of the first two thirds
    experts = [HeadId(deepest, 0), HeadId(deepest, 1), HeadId(0, 0)]
    meter = Meter(engine.device)
    plan = engine._plan(texts, geometry.frames, size, size)
    prefix = len(plan[0].ids)
    suffix = sum(len(s.ids) for s in plan[0].suffixes)

    def capture(count: int, heads: list[HeadId] | None = None) -> Callable[[], Any]:
        return lambda: engine.capture(frames, texts[:count], heads=heads, batch_size=batch_size)

    ways: dict[str, Callable[[], Any]] = {
        "one": capture(1),
        "many": capture(n_prompts),
        "experts": capture(1, experts),
        "naive one": lambda: naive(network, engine, frames[:naive_segments], texts[:1]),
        "naive many": lambda: naive(network, engine, frames[:naive_segments], texts),
    }
    if engine.device.type == "cuda":
        for name in ("one", "many", "experts"):  # let the batch size settle
            ways[name]()
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):  # in turn, so that a busy moment of the machine meets all alike
        for name, way in ways.items():
            best[name] = min(best[name], meter.time(way))
    per = {
        name: seconds / (naive_segments if "naive" in name else segments)
        for name, seconds in best.items()
    }
    if engine.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(engine.device)
    engine.watch = meter.stage
    capture(n_prompts)()
    memory = peak_memory(engine.device)
    work, peak = flops(engine, frames, texts), matmul_peak(engine.device, engine.dtype)
    settled = (
        engine._batches[(*shape[1:4], layers - 1, n_prompts)].size
        if batch_size == "auto"
        else batch_size
    )
    together = min(settled, segments)
    kernels = kernel_sum(engine, frames[:together], texts)
    whole = sum(meter.seconds.values())
    info = engine.info
    rows = [
        ("model", f"{model}: {layers} layers x {info.heads} heads x {info.head_dim}"),
        ("device", f"{_device_name(engine.device)}, {info.dtype}, torch {torch.__version__}"),
        ("segment", f"{geometry.frames} frames of {size}x{size}, {prefix} prefix tokens"),
        ("prompts", f"{n_prompts}, {suffix / n_prompts:.0f} tokens each"),
        ("segments/s, 1 prompt", f"{1 / per['one']:.3g}"),
        (f"segments/s, {n_prompts} prompts", f"{1 / per['many']:.3g}"),
        ("tokens/s", f"{(prefix + suffix) / per['many']:.4g}"),
        *(
            (f"share of {name}", f"{meter.seconds.get(name, 0.0) / whole:.1%}")
            for name in ("vision", "prefill", "suffix", "copies")
        ),
        ("peak memory", f"{memory / 2**30:.2f} GiB"),
        ("model FLOPs a segment", f"{work:.3g}"),
        ("matmul peak", f"{peak / 1e12:.3g} TFLOP/s"),
        ("FLOP utilisation", f"{work / per['many'] / peak:.1%}"),
        ("kernels alone / engine", f"{kernels / per['many']:.1%}, batches of {together}"),
        (f"time of {n_prompts} prompts / 1", f"{per['many'] / per['one']:.3f}"),
        (f"experts up to layer {deepest} / all heads", f"{per['experts'] / per['one']:.3f}"),
        ("naive way / engine, 1 prompt", f"{per['naive one'] / per['one']:.2f}"),
        (f"naive way / engine, {n_prompts} prompts", f"{per['naive many'] / per['many']:.2f}"),
    ]
    if info.dtype != "float32":
        rows.append((f"{info.dtype} against float32", _against_float32(network, engine, frames)))
    return rows


def _against_float32(network: Any, engine: Engine, frames: NDArray[np.uint8]) -> str:
    """How far the features lie from a float32 pass of the same weights: relative L2 a head.

    The float32 pass is transformers' own, without what hhvad.mllm.kernels changes on a GPU.
    """
    texts, backbone = prompts(1), engine.backbone
    whole = copy(engine)
    whole.dtype, whole._asked = torch.float32, []
    whole.backbone = type(backbone)(
        network.float().model, network.config, backbone.tokenizer, backbone.pixels
    )
    short = engine.capture(frames[:1], texts, batch_size=1)[0]
    full = whole.capture(frames[:1], texts, batch_size=1)[0]
    error = np.linalg.norm(short - full, axis=-1) / np.linalg.norm(full, axis=-1)
    return f"relative error of a head: median {np.median(error):.2g}, worst {error.max():.2g}"


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


def print_table(rows: list[tuple[str, str]]) -> None:
    """What was measured, in Markdown."""
    width = max(len(name) for name, _ in rows)
    print(f"| {'what':{width}} | value |\n|{'-' * (width + 2)}|---|")
    for name, value in rows:
        print(f"| {name:{width}} | {value} |")


def main(argv: list[str] | None = None) -> int:
    """Print one table: speed, where the time goes, memory, FLOP utilisation, the naive way."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", default="small", help=", ".join(geometries()))
    parser.add_argument("--segments", type=int, default=4, help="segments to capture (4)")
    parser.add_argument("--prompts", type=int, default=5, help="prompts on each segment (5)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16, float16, float8")
    parser.add_argument(
        "--batch-size",
        type=lambda text: text if text == "auto" else int(text),
        default="auto",
        help="auto or segments per batch",
    )
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    parser.add_argument("--naive-segments", type=int, default=1, help="of the naive way (1)")
    parser.add_argument("--repeats", type=int, default=3, help="runs, the best counts (3)")
    words = parser.parse_args(argv)
    try:
        rows = run(
            words.model,
            segments=words.segments,
            n_prompts=words.prompts,
            device=words.device,
            dtype=words.dtype,
            batch_size=words.batch_size,
            threads=words.threads,
            naive_segments=min(words.naive_segments, words.segments),
            repeats=words.repeats,
        )
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print_table(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
