"""What the real Triton makes of the rooms' configurations, which name no tensors themselves."""

import re

import pytest
import tritonclient.grpc.aio as triton_client
from tritonclient.grpc import model_config_pb2

from frontend.triton.process import EmbeddedTriton, TritonError
from tests.endings import stop_later
from tests.integration.repositories import linked_repository

ANY = -1
FP32, INT16, INT32, BOOL, STRING = (
    getattr(model_config_pb2, f"TYPE_{name}") for name in ("FP32", "INT16", "INT32", "BOOL", "STRING")
)
# name: type, dims, optional
ENCODER = (
    {"MEL": (FP32, [128, ANY], False), "FRAMES": (INT32, [1], False), "CLIP_MAX": (FP32, [1], False)},
    {"EMBEDDINGS": (FP32, [ANY, ANY], False)},
)
DECODER = (
    {
        "EMBEDDINGS": (FP32, [ANY, ANY, ANY], False),
        "FRAMES": (INT32, [ANY, 1], False),
        "LANGUAGE": (STRING, [1], True),
        "CONTEXT": (STRING, [1], True),
        "DRAFT_IDS": (INT32, [ANY], True),
        "DRAFT_EMBEDDINGS": (FP32, [ANY, ANY, ANY], True),
    },
    {
        "TEXT": (STRING, [1], False),
        "TOKEN_IDS": (INT32, [ANY], False),
        "TOKENS": (STRING, [ANY], False),
        "LOGPROBS": (FP32, [ANY], False),
        "FINAL": (BOOL, [1], False),
        "RESULT": (STRING, [1], False),
    },
)
ASR = (
    {"PCM": (FP32, [ANY], True), "LANGUAGE": (STRING, [1], True), "CONTEXT": (STRING, [1], True)},
    DECODER[1],
)
STEP = (
    {
        "MEL": (FP32, [ANY, 128, ANY], False),
        "FRAMES": (INT32, [ANY, 1], False),
        "CLIP_MAX": (FP32, [ANY, 1], False),
        "LANGUAGE": (STRING, [1], True),
        "CONTEXT": (STRING, [1], True),
        "DRAFT_IDS": (INT32, [ANY], True),
    },
    {"TOKEN_IDS": (INT32, [ANY], False), "FINAL": (BOOL, [1], False), "RESULT": (STRING, [1], False)},
)
TENSORS = {
    "vad": (
        {"PCM": (FP32, [ANY], True), "STATE": (FP32, [ANY], True)},
        {
            "SPEECH_PROB": (FP32, [ANY], False),
            "SPEECH": (INT32, [ANY, 2], False),
            "STATE": (FP32, [ANY], False),
        },
    ),
    "features": (
        {"PCM": (FP32, [ANY], False), "SPEECH": (INT32, [ANY, 2], False)},
        {
            "MEL": (FP32, [ANY, 128, ANY], False),
            "FRAMES": (INT32, [ANY, 1], False),
            "CLIP_MAX": (FP32, [ANY, 1], False),
        },
    ),
    "encoder": ENCODER,
    "encoder_fast": ENCODER,
    "decoder": DECODER,
    "decoder_fast": DECODER,
    "asr": ASR,
    "asr_fast": ASR,
    "asr_step": STEP,
    "asr_step_fast": STEP,
    "asr_stream": ({"PCM": (FP32, [ANY], True), "PCM16": (INT16, [ANY], True)}, {"EVENT": (STRING, [1], False)}),
}
LARGEST_BATCH = {"encoder": 64, "encoder_fast": 64}
# An ensemble is asked as its last step is.
ENSEMBLES = ("asr", "asr_fast", "asr_step", "asr_step_fast")
DECOUPLED = {"decoder", "decoder_fast", "asr_stream", *ENSEMBLES}


def tensors(side):
    return {one.name: (one.data_type, list(one.dims), getattr(one, "optional", False)) for one in side}


async def reported(url, model):
    async with triton_client.InferenceServerClient(url) as client:
        return (await client.get_model_config(model)).config


@pytest.fixture(scope="module", params=["", "two_sizes"])
async def every_model(request, settings):
    server = EmbeddedTriton(
        settings.model_copy(update={"model_config_name": request.param}),
        models=("asr", "asr_fast", "asr_step", "asr_step_fast", "asr_stream"),
    )
    await server.start()
    yield server
    stop_later(server)


@pytest.mark.parametrize("model", TENSORS)
async def test_triton_knows_every_tensor_and_how_a_model_is_asked(every_model, model):
    config = await reported(every_model.url, model)
    assert (tensors(config.input), tensors(config.output)) == TENSORS[model]
    assert config.max_batch_size == LARGEST_BATCH.get(model, 0)
    assert config.model_transaction_policy.decoupled == (model in DECOUPLED)
    scheduling = {**dict.fromkeys(ENSEMBLES, "ensemble_scheduling"), "asr_stream": "sequence_batching"}
    batched = "dynamic_batching" if model in LARGEST_BATCH else None
    assert config.WhichOneof("scheduling_choice") == scheduling.get(model, batched)
    if batched:
        assert config.dynamic_batching.priority_levels == 0
        assert not config.dynamic_batching.HasField("default_queue_policy")
    if config.backend == "python":
        assert [(group.kind, group.count) for group in config.instance_group] == [
            (model_config_pb2.ModelInstanceGroup.KIND_CPU, 1)
        ]


class WithoutCompletion(EmbeddedTriton):
    def command(self):
        return [*super().command(), "--disable-auto-complete-config"]


async def test_a_triton_that_does_not_ask_for_tensors_is_told_so(settings):
    server = WithoutCompletion(settings, models=("vad",))
    with pytest.raises(TritonError, match="must run without --disable-auto-complete-config"):
        await server.start()


@pytest.mark.parametrize(
    ("model", "parameters", "message"),
    [
        ("vad", {"treshold": "0.6"}, "there is no parameter treshold; known are threshold, min_speech_ms"),
        ("features", {"max_blocks": "many"}, "max_blocks must be a whole number, not 'many'"),
        ("decoder", {"kv_cache": "256"}, "there is no parameter kv_cache; known are checkpoint, engine"),
        ("asr_stream", {"max_sessions": "0"}, "max_sessions must be at least 1, not 0"),
    ],
)
async def test_a_mistake_in_a_parameter_stops_the_model_with_its_reason(settings, tmp_path, model, parameters, message):
    repository = linked_repository(tmp_path / "repository", {model: parameters})
    server = EmbeddedTriton(settings.model_copy(update={"model_repository": repository}), models=(model,))
    with pytest.raises(TritonError, match=re.escape(message)):
        await server.start()
