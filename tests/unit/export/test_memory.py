"""What a profile takes of a GPU: the sums, and that every profile fits where it is documented to."""

import shutil
import subprocess
import sys
import weakref
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from export.encoder.block_encoder import BlockEncoder, EncoderConfig
from export.encoder.plan import PROFILES
from export.errors import ExportError
from export.rooms import MODEL_REPOSITORY, room
from export.sizing.dimensions import ALIGNERS, SIZES, read_dimensions
from export.sizing.gpus import GPUS
from export.sizing.profile_memory import MIB, memory_of_profile
from perf.models.random_model import SIZES as RANDOM_SIZES
from perf.models.random_model import decoder_weights
from tests.conftest import ROOT, TINY

GPU_PROFILES = ("cuda", "tensorrt", "onnx", "rtx", "two_gpus", "tensorrt_speculative", "tensorrt_two_sizes")
# The smallest of the cards that are sold as 24 GB.
SMALLEST_24_GB = min(GPUS[name].memory_mb for name in ("a10", "l4", "rtx4090")) * MIB


class Alive(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive, without computing them."""

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self._known = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in self._known:
                self._watch(tensor.untyped_storage())
        self.most = max(self.most, self.now)
        return made

    def _watch(self, storage):
        place, size = storage._cdata, storage.nbytes()

        def gone():
            self._known.discard(place)
            self.now -= size

        self._known.add(place)
        self.now += size
        weakref.finalize(storage, gone)


def meta_encoder(name):
    dimensions = SIZES[name].encoder
    heads = dimensions.d_model // 64
    with torch.device("meta"):
        return BlockEncoder(EncoderConfig(num_mel_bins=128, encoder_attention_heads=heads, **vars(dimensions)))


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("profile", PROFILES, ids=["full", "short"])
def test_the_encoders_activations_are_those_that_a_run_holds_at_most(name, profile):
    """Counted over the true graph; the rest is the masks and scaled mel that live beside them."""
    blocks, frames = profile.blocks[2], profile.frames[2]
    encoder, alive = meta_encoder(name).in_precision(torch.float16), Alive()
    feeds = [
        torch.empty(blocks, 128, frames, device="meta"),
        torch.empty(blocks, 1, dtype=torch.int32, device="meta"),
        torch.empty(blocks, 1, device="meta"),
    ]
    with torch.inference_mode(), alive:
        encoder(*feeds)
    assert 1.0 <= alive.most / SIZES[name].encoder.activations(blocks, frames, 2) < 1.01


class Arena:
    """Of one layer, in the place of a KV cache: it was there before the step."""

    def __init__(self, config):
        shape = 8, config.num_key_value_heads, config.head_dim
        self._layer = [torch.empty(shape, dtype=torch.bfloat16, device="meta") for _ in range(2)]

    def write(self, layer, slots, keys, values):
        pass

    def layer(self, layer):
        return self._layer


def most_alive(config, rows, kept, monkeypatch):
    """Bytes of a step of so many rows at its most, counted over the true graph of a network on no device."""
    qwen3, layout = (room("decoder", module) for module in ("network.qwen3", "network.layout"))
    # One kernel on a GPU; where there is none it is several, in float32.
    monkeypatch.setattr(torch.nn.functional, "rms_norm", lambda x, *_, **__: torch.empty_like(x))
    with torch.device("meta"):
        network = qwen3.Qwen3(config, decoder_weights(config), torch.device("meta"), torch.bfloat16)
        positions, starts = torch.empty(rows, dtype=torch.int32), torch.empty(2, dtype=torch.int32)
        step = layout.Layout(positions, positions.long(), starts, starts, starts[:1], [], rows, rows)
    alive = Alive()
    with torch.inference_mode(), alive:
        network.forward(network.embed(positions), step, kept)
    return alive.most


@pytest.mark.parametrize("name", SIZES)
def test_a_decoders_activations_are_those_that_a_step_holds_at_most(name, monkeypatch):
    """Of two layers: what one needs is gone when the next begins."""
    config, rows = replace(RANDOM_SIZES[name].decoder, num_hidden_layers=2), 4_096
    counted = room("decoder", "serving.step_memory").layer_bytes(config, rows, 2)
    assert 1.0 <= most_alive(config, rows, Arena(config), monkeypatch) / counted < 1.01


def test_an_aligners_activations_are_those_that_its_pass_holds_at_most(monkeypatch):
    """It keeps keys and values of its own; those of the layer before are there while it makes its own."""
    config, rows = replace(RANDOM_SIZES["0.6b"].decoder, num_hidden_layers=3), 8_192
    counted = room("decoder", "serving.step_memory").one_pass_bytes(config, rows, 2)
    assert 1.0 <= most_alive(config, rows, room("aligner", "aligning").OnePass(), monkeypatch) / counted < 1.01


@pytest.mark.parametrize("name", SIZES)
def test_the_encoders_weights_are_counted(name):
    weights = sum(one.numel() for one in meta_encoder(name).parameters())
    assert SIZES[name].encoder.num_weights == pytest.approx(weights, rel=0.01)


def test_a_checkpoints_dimensions_say_how_large_its_decoder_is():
    with safe_open(TINY / "model.safetensors", framework="pt") as file:
        names = [name for name in file.keys() if ".language_model." in name]  # noqa: SIM118
        weights = sum(file.get_tensor(name).numel() for name in names)
    assert read_dimensions(TINY, "tiny").decoder.num_weights == pytest.approx(weights, rel=0.01)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("profile", GPU_PROFILES)
def test_every_gpu_profile_fits_into_24_gb(profile, name):
    found = memory_of_profile(MODEL_REPOSITORY, profile, SMALLEST_24_GB, SIZES[name], SIZES["0.6b"])
    assert not found.missing
    # Whichever model is loaded first, there is a cache worth having; both are shares of one GPU.
    assert all(one.sequences(one.at_least) >= 32 for one in found.caches)
    assert sum(one.at_most for one in found.caches if one.device == 0) < SMALLEST_24_GB


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("profile", ["cuda", "tensorrt", "onnx", "rtx", "two_gpus"])
def test_the_profiles_of_one_size_fit_beside_an_aligner(profile, name):
    found = memory_of_profile(MODEL_REPOSITORY, profile, SMALLEST_24_GB, SIZES[name], SIZES["0.6b"], ALIGNERS["0.6b"])
    assert {"aligner", "encoder_aligner"} <= {one.model for one in found.parts}
    assert not found.missing
    assert all(one.sequences(one.at_least) > 12 for one in found.caches)


@pytest.mark.parametrize("profile", ["vllm_cuda", "vllm_tensorrt"])
def test_vllm_leaves_the_encoder_its_memory(profile):
    found = memory_of_profile(MODEL_REPOSITORY, profile, SMALLEST_24_GB, SIZES["1.7b"], SIZES["0.6b"])
    assert not found.missing
    assert found.caches == []
    assert [one.size for one in found.parts if one.model == "decoder"] == [int(0.8 * SMALLEST_24_GB)]


def test_two_sizes_and_an_aligner_want_a_larger_gpu():
    def missing(gpu):
        size = GPUS[gpu].memory_mb * MIB
        large, fast, aligner = SIZES["1.7b"], SIZES["0.6b"], ALIGNERS["0.6b"]
        return memory_of_profile(MODEL_REPOSITORY, "tensorrt_two_sizes", size, large, fast, aligner).missing

    assert missing("rtx4090")
    assert not missing("l40s")


@pytest.mark.parametrize("profile", ["tensorrt", "cuda", "two_gpus"])
def test_the_small_checkpoint_fits_into_16_gb(profile):
    size = GPUS["t4"].memory_mb * MIB
    found = memory_of_profile(MODEL_REPOSITORY, profile, size, SIZES["0.6b"], SIZES["0.6b"], has_flash=False)
    assert not found.missing


def test_what_does_not_fit_is_told_with_the_share_that_would(tmp_path):
    repository = tmp_path / "model_repository"
    ignored = shutil.ignore_patterns("checkpoint", "*.onnx", "*.plan", "__pycache__")
    shutil.copytree(MODEL_REPOSITORY, repository, symlinks=True, ignore=ignored)
    path = repository / "decoder" / "configs" / "tensorrt_two_sizes.pbtxt"

    def with_share(share):
        path.write_text(path.read_text().replace('"15%"', f'"{share}%"'))
        found = memory_of_profile(repository, "tensorrt_two_sizes", SMALLEST_24_GB, SIZES["1.7b"], SIZES["0.6b"])
        path.write_text(path.read_text().replace(f'"{share}%"', '"15%"'))
        return found

    fits = with_share(30).fitting_share(0)
    assert with_share(30).missing
    assert 15 <= fits < 30
    assert not with_share(fits).missing
    assert with_share(fits + 1).missing


def test_a_profile_without_a_gpu_is_refused():
    with pytest.raises(ExportError, match="the profile two_sizes computes on no GPU"):
        memory_of_profile(MODEL_REPOSITORY, "two_sizes", SMALLEST_24_GB, SIZES["1.7b"], SIZES["0.6b"])


def test_the_command_adds_up_without_pytorch():
    words = [sys.executable, "-X", "importtime", "-m", "export", "memory", "--profile", "tensorrt_two_sizes"]
    sizes = ["--checkpoint", "1.7b", "--fast-checkpoint", "0.6b"]

    def export(*more):
        done = subprocess.run(
            [*words, *sizes, *more], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert not imported & {"torch", "onnx"}
        return done

    done = export("--gpu", "rtx4090")
    assert done.returncode == 0, done.stderr
    assert "decoder_fast     KV cache" in done.stdout
    assert "of 24.0" in done.stdout
    small = export("--gpu-mb", "16384")
    assert small.returncode == 1
    assert "error: decoder_fast: " in small.stderr or "it does not fit" in small.stderr
