"""Profiles: every configuration that --model-config-name can pick, read as Triton reads it."""

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export.rooms import MODEL_REPOSITORY, room

PROFILES = sorted(MODEL_REPOSITORY.glob("*/configs/*.pbtxt"))
GPU = ("cuda", "tensorrt", "onnx", "rtx", "two_gpus", "tensorrt_speculative", "tensorrt_two_sizes")


def read(path):
    return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())


def tensors(config):
    return [
        [(one.name, one.data_type, list(one.dims), getattr(one, "optional", False)) for one in side]
        for side in (config.input, config.output)
    ]


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_profile_has_the_models_tensors_and_queues(path):
    default, profile = read(path.parents[1] / "config.pbtxt"), read(path)
    assert tensors(profile) == tensors(default)
    assert profile.max_batch_size == default.max_batch_size
    assert profile.dynamic_batching == default.dynamic_batching
    assert profile.model_transaction_policy == default.model_transaction_policy
    assert list(profile.model_warmup) == list(default.model_warmup)
    if profile.backend == default.backend == "python" and path.parts[-3] != "asr_stream":
        # The code reads every parameter; one that is missing would fail at load.
        assert set(profile.parameters) == set(default.parameters)


@pytest.mark.parametrize(
    "path", sorted(MODEL_REPOSITORY.glob("*/**/*.pbtxt")), ids=lambda path: "-".join(path.parts[-3:])
)
def test_no_queue_of_tritons_may_sleep_beside_a_request(path):
    """With priority levels or a bounded queue its batcher is not told when the instance becomes free."""
    batching = read(path).dynamic_batching
    assert batching.priority_levels == 0
    assert not batching.priority_queue_policy
    assert not batching.HasField("default_queue_policy")


@pytest.mark.parametrize("profile", GPU)
def test_a_gpu_profile_is_there_for_every_model_that_computes(profile):
    for model in ("vad", "features", "encoder", "encoder_fast", "decoder", "decoder_fast"):
        assert (MODEL_REPOSITORY / model / "configs" / f"{profile}.pbtxt").is_file(), model
    decoder = read(MODEL_REPOSITORY / "decoder" / "configs" / f"{profile}.pbtxt")
    assert decoder.parameters["device"].string_value.startswith("cuda")


def test_the_small_checkpoint_has_the_large_ones_configuration():
    for model in ("encoder", "decoder"):
        assert read(MODEL_REPOSITORY / f"{model}_fast" / "config.pbtxt") == read(
            MODEL_REPOSITORY / model / "config.pbtxt"
        )


def test_a_profile_says_which_file_its_engine_reads():
    backends = {path.stem: read(path).backend for path in (MODEL_REPOSITORY / "encoder" / "configs").glob("*.pbtxt")}
    assert backends["tensorrt"] == "tensorrt"
    assert backends["onnx"] == backends["onnx_cpu"] == "onnxruntime"
    assert backends["rtx"] == "python"
    profiles = read(MODEL_REPOSITORY / "encoder" / "configs" / "tensorrt.pbtxt").instance_group[0].profile
    from export.encoder.plan import PROFILES as BUILT

    assert [int(one) for one in profiles] == list(range(len(BUILT)))


def test_the_embedded_server_is_asked_for_no_gpu_instance():
    """It has no GPU support that could be relied on: the rooms take their device from `parameters`."""
    for profile in ("cuda", "rtx"):
        for model in ("vad", "features", "encoder", "encoder_fast", "decoder", "decoder_fast"):
            groups = read(MODEL_REPOSITORY / model / "configs" / f"{profile}.pbtxt").instance_group
            assert {group.kind for group in groups} == {model_config_pb2.ModelInstanceGroup.KIND_CPU}, (model, profile)


@pytest.mark.parametrize(("value", "expected"), [("cpu", ("cpu", 0)), ("cuda", ("cuda", 0)), ("cuda:1", ("cuda", 1))])
def test_the_encoders_provider_may_name_a_gpu(value, expected):
    assert room("encoder", "providers").split_device(value) == expected


def test_a_gpu_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="such as cuda:1, not 'cuda:first'"):
        room("encoder", "providers").split_device("cuda:first")
