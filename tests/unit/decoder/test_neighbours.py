"""What a decoder leaves of its GPU for a forced aligner, and the cache that it takes beside one."""

from types import SimpleNamespace

import pytest
import torch

from export.errors import ExportError
from export.rooms import MODEL_REPOSITORY, room
from export.sizing.dimensions import ALIGNERS, SIZES
from export.sizing.gpus import GPUS
from export.sizing.profile_memory import CUDA_CONTEXT, DRIVER, MIB, memory_of_profile
from frontend.triton.profiles import config_of
from perf.models.random_model import SIZES as NETWORKS

neighbours, build = room("decoder", "serving.neighbours"), room("decoder", "serving.build")
budget, Parameters = room("decoder", "serving.budget"), room("decoder", "parameters").Parameters
OURS = ("cuda", "tensorrt", "onnx", "rtx", "two_gpus", "tensorrt_speculative", "tensorrt_two_sizes")
GB, HALF, SINGLE = 2**30, 2, 4


def texts_of(model, profile):
    return {name: value.string_value for name, value in config_of(MODEL_REPOSITORY, model, profile).parameters.items()}


def test_what_an_aligner_weighs_is_read_from_its_files(tmp_path):
    own = tmp_path / "decoder" / "1"
    own.mkdir(parents=True)

    def put(name, size):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))

    assert neighbours.weights_in(own) == (0, 0)
    put("encoder_aligner/1/model.onnx", 40)
    put("aligner/1/checkpoint/model.safetensors", 100)
    assert neighbours.weights_in(own) == (100, 40)
    put("encoder_aligner/1/model.plan", 20)
    assert neighbours.weights_in(own) == (100, 20)


@pytest.mark.parametrize(
    ("decoder", "aligner", "encoder", "kept"),
    [
        ("cuda", "cuda", "cuda:0", 120 + neighbours.ALIGNER_WORK + neighbours.ENCODER_WORK),
        ("cuda:1", "cuda:1", "cuda", 100 + neighbours.ALIGNER_WORK),
        ("cuda", "cuda:1", "cuda", 20 + neighbours.ENCODER_WORK),
        ("cuda", "cpu", "cpu", 0),
        ("cuda:1", "cuda", "cpu", 0),
        ("cpu", "cpu", "cpu", 0),
        ("cpu", "cuda", "cuda", 0),
    ],
)
def test_only_what_computes_on_the_decoders_gpu_is_left_room(decoder, aligner, encoder, kept):
    assert neighbours.kept_bytes(decoder, aligner, encoder, (100, 20)) == kept
    for nothing in ((0, 20), (100, 0), (0, 0)):
        assert neighbours.kept_bytes(decoder, aligner, encoder, nothing) == 0


@pytest.mark.parametrize("device", ["", "gpu", "cuda:", "cuda:x", "cpu:0", "cuda:-1"])
def test_a_neighbours_device_that_is_none_is_refused(device):
    with pytest.raises(ValueError, match="a device is cpu, cuda, or a GPU by its number"):
        Parameters.from_texts({"aligner_device": device})


@pytest.mark.parametrize("model", ["decoder", "decoder_fast"])
@pytest.mark.parametrize("profile", OURS)
def test_a_profile_tells_the_decoder_where_its_aligner_is(profile, model):
    told = Parameters.from_texts(texts_of(model, profile))
    aligner = room("aligner", "parameters").Parameters.from_texts(texts_of("aligner", profile))
    assert told.aligner_device == aligner.device
    encoder = config_of(MODEL_REPOSITORY, "encoder_aligner", profile)
    numbers = [number for group in encoder.instance_group for number in group.gpus]
    provider = texts_of("encoder_aligner", profile).get("execution_provider", "")
    where = numbers[0] if numbers else room("encoder", "providers").split_device(provider)[1]
    assert neighbours.gpu_of(told.aligner_encoder_device) == where


@pytest.mark.parametrize("has_flash", [True, False])
@pytest.mark.parametrize("profile", OURS)
def test_what_is_left_holds_an_aligner_and_not_much_more(profile, has_flash):
    sizes = SIZES["0.6b"], SIZES["0.6b"], ALIGNERS["0.6b"]
    found = memory_of_profile(MODEL_REPOSITORY, profile, 80 * GB, *sizes, has_flash=has_flash)
    for model, work in (("aligner", neighbours.ALIGNER_WORK), ("encoder_aligner", neighbours.ENCODER_WORK)):
        own = [one for one in found.parts if one.model == model]
        assert 0 <= work - sum(one.size for one in own if one.what != "weights") < 1.2 * GB


@pytest.mark.parametrize("gpu", ["t4", "rtx4090", "h100"])
@pytest.mark.parametrize("profile", OURS)
@pytest.mark.parametrize("aligned", [False, True])
def test_the_cache_that_is_printed_is_the_one_that_is_taken(monkeypatch, profile, gpu, aligned):
    """Both sides from the same figures: the decoder's are those of a GPU that nothing else is on yet."""
    total, weights = GPUS[gpu].memory_mb * MIB, 2 * SIZES["0.6b"].decoder.num_weights
    aligner = ALIGNERS["0.6b"] if aligned else None
    parameters = Parameters.from_texts(texts_of("decoder", profile))
    networks = [SimpleNamespace(config=NETWORKS["0.6b"].decoder, dtype=torch.bfloat16, device=torch.device("cuda:0"))]
    networks *= 1 + bool(parameters.draft_checkpoint)
    weights *= len(networks)
    free = total - DRIVER - CUDA_CONTEXT - weights
    monkeypatch.setattr(build, "memory_of", lambda _: budget.Memory("gpu", total, free))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: weights)
    flash = GPUS[gpu].has_flash
    monkeypatch.setattr(build, "has_flash", lambda *_: flash)
    engine = SINGLE if profile in ("cuda", "rtx", "onnx") else HALF
    files = (2 * aligner.decoder.num_weights, engine * aligner.encoder.num_weights) if aligned else (0, 0)

    def printed():
        sizes = SIZES["0.6b"], SIZES["0.6b"], aligner
        found = memory_of_profile(MODEL_REPOSITORY, profile, total, *sizes, has_flash=flash)
        return next(one.at_most for one in found.caches if one.model == "decoder")

    def taken():
        return build._tokens(parameters, networks, files) * 2 * SIZES["0.6b"].decoder.values_per_token * len(networks)

    assert said(printed) == said(taken)


def said(count):
    """A size, or why there is none."""
    try:
        return count()
    except (budget.NotEnoughMemory, ExportError) as error:
        return str(error).removeprefix("decoder: ")


def test_an_aligner_on_another_gpu_leaves_the_cache_what_it_had():
    def sequences(aligner):
        size = GPUS["t4"].memory_mb * MIB
        (cache,) = memory_of_profile(MODEL_REPOSITORY, "two_gpus", size, SIZES["0.6b"], SIZES["0.6b"], aligner).caches
        return cache.sequences(cache.at_most)

    assert sequences(ALIGNERS["0.6b"]) > 40
