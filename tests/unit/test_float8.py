"""Products in float8: rounded as written, summed right, keyed, and refused where they mislead."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_checkpoints
import torch
from test_capture import PROMPTS, make
from torch import nn

from hhvad.errors import ModelError
from hhvad.mllm.engine import Engine
from hhvad.mllm.float8 import Float8Linear, to_float8, use_float8
from hhvad.mllm.load import load
from hhvad.mllm.weights import check_float8


def test_rows_by_hand():
    rows = torch.tensor([[448.0, -224.0, 1.0, 0.3], [0.0, 0.0, 0.0, 0.0], [-7.0, 3.5, 0.0, 1.75]])
    values, scales = to_float8(rows)
    assert scales[[0, 2], 0].tolist() == [1.0, 7.0 / 448]
    # e4m3 has three bits behind the point: 0.3 lies between 0.28125 and 0.3125
    assert values[0].float().tolist() == [448.0, -224.0, 1.0, 0.3125]
    assert values[1].float().tolist() == [0.0] * 4
    assert values[2].float().tolist() == [-448.0, 224.0, 0.0, 112.0]


@pytest.mark.parametrize("has_bias", [True, False])
def test_a_product_is_that_of_the_rounded_numbers(has_bias):
    torch.manual_seed(0)
    linear = nn.Linear(64, 32, bias=has_bias, dtype=torch.bfloat16)
    layer, x = Float8Linear(linear), torch.randn(2, 5, 64, dtype=torch.bfloat16)
    a, a_scale = to_float8(x.reshape(-1, 64))
    b, b_scale = to_float8(linear.weight.detach())
    expected = (a.double() * a_scale) @ (b.double() * b_scale).T
    if has_bias:
        expected += linear.bias.detach().double()
    found = layer(x)
    assert found.shape == (2, 5, 32)
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.double().reshape(-1, 32), expected, rtol=2**-7, atol=1e-3)
    exact = linear(x).double().reshape(-1, 32)
    error = (found.double().reshape(-1, 32) - exact).norm() / exact.norm()
    assert 0.001 < error < 0.06


def test_a_number_that_is_none_stays_in_its_row():
    layer = Float8Linear(nn.Linear(16, 16, dtype=torch.bfloat16))
    x = torch.ones(3, 16, dtype=torch.bfloat16)
    x[0, 3], x[1, 3] = float("nan"), float("inf")
    found = layer(x)
    assert not found[:2].isfinite().any()
    assert found[2].isfinite().all()


def test_odd_sides_stay_as_they_are():
    model = nn.Sequential(nn.Linear(16, 20), nn.Linear(20, 16), nn.Sequential(nn.Linear(32, 16)))
    use_float8(model)
    kinds = [type(model[0]), type(model[1]), type(model[2][0])]
    assert kinds == [nn.Linear, nn.Linear, Float8Linear]


def test_an_engine_in_float8(tmp_path):
    family = make("internvl", tmp_path)
    plain = Engine.load(str(family.folder), dtype="float32", device="cpu")
    engine = Engine.load(str(family.folder), dtype="float8", device="cpu")
    assert engine.info.dtype == "float8"
    found = engine.capture(family.frames, PROMPTS[:2])
    again = engine.capture(family.frames, PROMPTS[:2])
    for x, y, z in zip(found, again, plain.capture(family.frames, PROMPTS[:2]), strict=True):
        assert np.array_equal(x, y)
        assert 1e-4 < np.linalg.norm(x - z) / np.linalg.norm(z) < 0.3


def test_a_text_decoder_in_float8(tmp_path):
    folder = tiny_checkpoints.qwen3(tmp_path)
    model = load(str(folder), dtype="float8", device="cpu")
    assert model.info.dtype == "float8"
    (answer,) = model.complete([[{"role": "user", "content": "a"}]], max_tokens=3, batch_size=1)
    assert answer.tokens <= 3


def test_encoders_refuse_it(tmp_path):
    with pytest.raises(ModelError, match="float8 is for models that answer, not for 'clip'"):
        load(str(tiny_checkpoints.encoder(tmp_path, "clip")), dtype="float8", device="cpu")


def test_a_training_refuses_it(tmp_path):
    family = make("internvl", tmp_path)
    with pytest.raises(ModelError, match="float8 cannot be trained: take bfloat16"):
        Engine.load(
            str(family.folder), dtype="float8", device="cpu", adapt=lambda network, decoder: None
        )


def test_an_older_gpu_refuses_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A100")
    for capability, refused in (((8, 0), True), ((8, 9), False), ((9, 0), False)):
        monkeypatch.setattr(
            torch.cuda, "get_device_capability", lambda device, found=capability: found
        )
        if refused:
            with pytest.raises(ModelError, match="a A100, which does not multiply float8"):
                check_float8(torch.device("cuda", 0))
        else:
            check_float8(torch.device("cuda", 0))
    check_float8(torch.device("cpu"))
