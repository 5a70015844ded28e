"""Half precision on GPUs, tried without one."""

from __future__ import annotations

import pytest
import torch

from casr_net.errors import UsageError
from casr_net.inference.runtimes import gpu


def test_number_format_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cuda:0")
    monkeypatch.setattr(torch.cuda, "device", lambda device: torch.no_grad())
    for bf16, capability, expected in (
        (True, (9, 0), torch.bfloat16), (False, (7, 5), torch.float16), (False, (6, 1), torch.float32)
    ):  # fmt: skip
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, bf16=bf16: bf16)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, capability=capability: capability)
        assert gpu.gpu_format("auto", device) == expected
    assert gpu.gpu_format("fp32", device) == torch.float32 and gpu.gpu_format("bf16", device) == torch.bfloat16
    with pytest.raises(UsageError, match="precision 'int8' is for the CPU, not for cuda:0; use device cpu"):
        gpu.gpu_format("int8", device)


def test_half_precision_that_overflows_goes_on_in_single(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Autocast of the CPU stands in for that of a GPU."""
    monkeypatch.setattr(gpu, "gpu_format", lambda precision, device: torch.float16)
    engine = gpu.GpuEngine("auto")
    convolution = torch.nn.Conv2d(1, 1, 1).requires_grad_(False)
    inputs = torch.rand(1, 1, 8, 8)
    assert engine(inputs, convolution).dtype == torch.float32 and engine.used == "torch fp16"
    torch.nn.init.constant_(convolution.weight, 1e6)
    assert torch.equal(engine(inputs, convolution), convolution(inputs)) and engine.used == "torch fp32"
    engine(inputs, convolution)
    assert caplog.text.count("the network overflows in fp16; single precision is used") == 1
