"""Which device serves, decided from what a machine says."""

import pytest

from frontend.settings import Settings
from frontend.triton import hardware
from frontend.triton.hardware import Gpu, Host, Verdict
from frontend.triton.profiles import ProfileError
from frontend.triton.startup import decide

ADA = "0, GPU-aaaa, NVIDIA GeForce RTX 4090, 580.95.05, 24564, 24000, 8.9"
PASCAL = "1, GPU-bbbb, NVIDIA GeForce GTX 1080 Ti, 580.95.05, 11264, 11000, 6.1"
TURING = "2, GPU-cccc, Tesla T4, 580.95.05, 15360, 15000, 7.5"


def machine(*lines, **environment):
    return hardware.machine_verdict(hardware.parse("\n".join(lines)), environment)


def host(*lines, torch_cuda="13.0", onnxruntime_gpu=True):
    verdict = hardware.installed_verdict(machine(*lines), torch_cuda)
    return lambda: Host(verdict, onnxruntime_gpu)


def test_the_answer_of_nvidia_smi_is_read():
    assert hardware.parse(ADA) == [Gpu(0, "GPU-aaaa", "NVIDIA GeForce RTX 4090", "580.95.05", 24564, 24000, (8, 9))]
    assert hardware.parse("Unable to determine the device handle for GPU0: Unknown Error\n" + TURING)[0].index == 2


@pytest.mark.parametrize(
    ("lines", "environment", "reason"),
    [
        ([], {}, "shows no GPU"),
        ([PASCAL], {}, "older than CUDA 13 supports"),
        ([ADA.replace("580.95.05", "575.57.08")], {}, "needs driver 580 or newer"),
        ([ADA], {"CUDA_VISIBLE_DEVICES": ""}, "CUDA_VISIBLE_DEVICES hides"),
        ([ADA], {"CUDA_VISIBLE_DEVICES": "-1"}, "CUDA_VISIBLE_DEVICES hides"),
        ([ADA, PASCAL], {"CUDA_VISIBLE_DEVICES": "1,0"}, "GTX 1080 Ti"),
    ],
)
def test_a_gpu_that_cannot_be_used_is_told_with_the_reason(lines, environment, reason):
    verdict = machine(*lines, **environment)
    assert verdict.gpu is None
    assert reason in verdict.reason


@pytest.mark.parametrize(("visible", "index"), [(None, 0), ("2,0", 2), ("GPU-cc", 2)])
def test_cudas_first_device_is_the_one(visible, index):
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert machine(ADA, PASCAL, TURING, **environment).gpu.index == index


def test_a_machine_without_a_driver_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hardware.query() == "no NVIDIA driver was found (there is no nvidia-smi)"


@pytest.mark.parametrize(("body", "said"), [("echo No devices; exit 6", "finds no GPU: No devices"), ("exit 9", "9")])
def test_a_driver_that_fails_is_quoted(monkeypatch, tmp_path, body, said):
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{body}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert said in hardware.query()


def test_without_a_name_the_gpu_serves_where_one_can_be_used():
    plan = decide(Settings(device="auto"), host(ADA))
    assert plan.profile == "cuda"
    assert "RTX 4090" in plan.line
    assert "bfloat16" in plan.line
    assert "23.4 free" in plan.line
    assert "float16" in decide(Settings(device="auto"), host(TURING)).line
    assert "bfloat16" not in decide(Settings(device="auto"), host(TURING)).line


@pytest.mark.parametrize(
    ("settings", "facts", "reason"),
    [
        (Settings(device="auto"), host(ADA, torch_cuda=None), "build without CUDA"),
        (Settings(device="auto"), host(ADA, onnxruntime_gpu=False), "onnxruntime-gpu is not installed"),
        (Settings(device="auto"), host(PASCAL), "older than CUDA 13"),
        (Settings(device="cpu"), host(ADA), "ASR_DEVICE=cpu"),
        (Settings(device="auto", model_config_name="default"), host(ADA), "the profile was named"),
    ],
)
def test_why_the_cpu_serves(settings, facts, reason):
    plan = decide(settings, facts)
    assert plan.profile == ""
    assert plan.line.startswith("Serving on the CPU (")
    assert reason in plan.line
    assert "float32" in plan.line


def test_a_profile_of_the_gpu_can_be_named_without_onnxruntimes_cuda():
    assert decide(Settings(device="auto", model_config_name="rtx"), host(ADA, onnxruntime_gpu=False)).profile == "rtx"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (Settings(device="cuda"), "no GPU can be used"),
        (Settings(device="auto", model_config_name="cuda"), "these can: default, speculative, two_sizes"),
        (Settings(device="cpu", model_config_name="rtx"), "ASR_DEVICE=cpu"),
    ],
)
def test_a_gpu_that_is_asked_for_and_not_there_is_a_refusal(settings, reason):
    with pytest.raises(ProfileError, match=reason):
        decide(settings, lambda: Host(Verdict(None, "no NVIDIA driver was found")))


def test_a_gpu_that_was_asked_for_and_cannot_be_used_is_no_cpu():
    settings = Settings(device="cuda")
    with pytest.raises(ProfileError, match="onnxruntime-gpu is not installed"):
        decide(settings, host(ADA, onnxruntime_gpu=False))
    with pytest.raises(ProfileError, match="computes on the CPU"):
        decide(Settings(device="cuda", model_config_name="default"), host(ADA))


def test_a_part_of_a_gpu_is_named_as_the_reason():
    assert "MIG" in machine(ADA, CUDA_VISIBLE_DEVICES="MIG-1234").reason
