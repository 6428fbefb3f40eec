"""Profiles: every configuration that --model-config-name can pick, read as Triton reads it."""

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export.rooms import MODEL_REPOSITORY, room
from frontend.triton.profiles import config_of

PROFILES = sorted(MODEL_REPOSITORY.glob("*/configs/*.pbtxt"))
ALL = sorted([*MODEL_REPOSITORY.glob("*/config.pbtxt"), *PROFILES])
GPU = ("cuda", "tensorrt", "onnx", "rtx", "two_gpus", "tensorrt_speculative", "tensorrt_two_sizes")
every_configuration = pytest.mark.parametrize(
    "path", ALL, ids=lambda path: "-".join(path.relative_to(MODEL_REPOSITORY).parts)
)


def read(path):
    return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())


def model_of(path):
    return path.relative_to(MODEL_REPOSITORY).parts[0]


@every_configuration
def test_only_ensembles_name_their_tensors(path):
    """The others declare them in code, or have them in what their engine reads."""
    config = read(path)
    assert bool(config.input) == bool(config.output) == (config.platform == "ensemble")
    assert not config.HasField("model_transaction_policy")


@every_configuration
def test_a_configuration_names_parameters_that_its_room_knows_and_no_default(path):
    config = read(path)
    if config.backend != "python":
        return
    kind = room(model_of(path).removesuffix("_fast"), "parameters").Parameters
    texts = {name: value.string_value for name, value in config.parameters.items()}
    made, usual = kind.from_texts(texts), kind.from_texts({k: v for k, v in texts.items() if k == "device"})
    for name in texts:
        assert getattr(made, name) != getattr(kind() if name == "device" else usual, name), f"{name} is its default"


@every_configuration
def test_no_queue_of_tritons_may_sleep_beside_a_request(path):
    """With priority levels or a bounded queue its batcher is not told when the instance becomes free."""
    batching = read(path).dynamic_batching
    assert batching.priority_levels == 0
    assert not batching.priority_queue_policy
    assert not batching.HasField("default_queue_policy")


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: f"{model_of(path)}-{path.stem}")
def test_a_profile_batches_and_warms_up_as_the_default(path):
    default, profile = read(path.parents[1] / "config.pbtxt"), read(path)
    # An engine that takes fewer blocks at once is not given more, see below.
    assert bool(profile.max_batch_size) == bool(default.max_batch_size)
    for name in ("dynamic_batching", "sequence_batching"):
        assert profile.HasField(name) == default.HasField(name)
        assert getattr(profile, name) == getattr(default, name)
    assert list(profile.model_warmup) == list(default.model_warmup)


@pytest.mark.parametrize("profile", GPU)
def test_a_gpu_profile_is_there_for_every_model_that_computes(profile):
    for model in ("encoder", "encoder_fast", "decoder", "decoder_fast"):
        assert (MODEL_REPOSITORY / model / "configs" / f"{profile}.pbtxt").is_file(), model
    decoder = read(MODEL_REPOSITORY / "decoder" / "configs" / f"{profile}.pbtxt")
    assert decoder.parameters["device"].string_value.startswith("cuda")


@pytest.mark.parametrize("profile", ["", *sorted({path.stem for path in PROFILES})])
def test_no_clip_has_more_blocks_than_the_encoder_takes_at_once(profile):
    features, *encoders = (config_of(MODEL_REPOSITORY, one, profile) for one in ("features", "encoder", "encoder_fast"))
    texts = {name: value.string_value for name, value in features.parameters.items()}
    most = room("features", "parameters").Parameters.from_texts(texts).max_blocks
    assert [one.max_batch_size for one in encoders] == [most, most]


def test_equal_profiles_are_one_file():
    files = [path for path in ALL if path.resolve() == path.absolute()]
    configurations = {path: (read(path), model_of(path)) for path in files}
    for path, (config, model) in configurations.items():
        same = [other for other, (one, whose) in configurations.items() if one == config and whose == model]
        assert same == [path]


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
            groups = config_of(MODEL_REPOSITORY, model, profile).instance_group
            assert {group.kind for group in groups} == {model_config_pb2.ModelInstanceGroup.KIND_CPU}, (model, profile)


@pytest.mark.parametrize(("value", "expected"), [("cpu", ("cpu", 0)), ("cuda", ("cuda", 0)), ("cuda:1", ("cuda", 1))])
def test_the_encoders_provider_may_name_a_gpu(value, expected):
    assert room("encoder", "providers").split_device(value) == expected


def test_a_gpu_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="such as cuda:1, not 'cuda:first'"):
        room("encoder", "providers").split_device("cuda:first")


def test_what_an_engine_is_built_for_is_no_more_than_what_it_is_given():
    """TensorRT takes the memory of the largest run when it is built, whatever is run later."""
    options = room("encoder", "providers").provider_options("tensorrt", 0, "", 16)
    assert options["trt_profile_max_shapes"] == "MEL:16x128x800,FRAMES:16x1,CLIP_MAX:16x1"
    assert options["trt_profile_min_shapes"].startswith("MEL:1x128x100,")


def test_a_plans_contexts_are_each_as_large_as_their_own_profile():
    config = read(MODEL_REPOSITORY / "encoder" / "configs" / "tensorrt.pbtxt")
    strategy = config.parameters["execution_context_allocation_strategy"].string_value
    assert strategy == "ON_PROFILE_CHANGE"
