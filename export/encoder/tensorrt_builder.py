"""From encoder ONNX to a TensorRT plan, strongly typed: the graph says what is computed in which precision."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from export.command_line import export_command, place_words
from export.encoder.onnx_export import MAX_BLOCKS
from export.encoder.onnx_file import read_properties
from export.encoder.plan import FULL, PROFILES, PlanRecord, here, import_tensorrt, record_of, sha256
from export.errors import ExportError
from export.files import require_space, staged

# What TensorRT 10.12's ONNX parser has a layer for, of what the exporter writes.
OPERATORS = frozenset(
    {
        "Add", "And", "Cast", "Concat", "Constant", "ConstantOfShape", "Conv", "DequantizeLinear", "Div",
        "Equal", "Erf", "Expand", "Gather", "Gelu", "Gemm", "Identity", "LayerNormalization", "Less",
        "LessOrEqual", "MatMul", "Max", "Min", "Mod", "Mul", "Not", "Or", "Pad", "Pow", "QuantizeLinear",
        "Range", "ReduceMean", "Reshape", "Shape", "Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Sub", "Tanh",
        "Transpose", "Unsqueeze", "Where",
    }
)  # fmt: skip
TYPES = frozenset({"FLOAT", "FLOAT16", "BFLOAT16", "FLOAT8E4M3FN", "INT8", "INT32", "INT64", "BOOL"})
# Compute capabilities with FP8 in their tensor cores: Ada (8.9), Hopper (9.0) and later.
FP8_CAPABILITY = (8, 9)


@dataclass(frozen=True)
class BuildOptions:
    """workspace_mb: the builder's scratch memory. level: 0 (fast to build) to 5 (fast to run). max_blocks: of one
    run, at least the configuration's max_batch_size. timing_cache: kept here, so that the next build is faster."""

    workspace_mb: int = 4_096
    level: int = 4
    max_blocks: int = FULL.blocks[2]
    timing_cache: Path | None = None


@dataclass(frozen=True)
class Preset:
    """What suits a kind of GPU; `capability` is checked against the one at hand."""

    capability: str
    options: BuildOptions


PRESETS = {
    # All take the blocks that the configurations promise: Triton loads no plan that takes fewer. Slower ones get less
    # of the builder's time and scratch memory.
    "rtx4090": Preset("8.9", BuildOptions(workspace_mb=8_192, level=5)),
    "l4": Preset("8.9", BuildOptions(workspace_mb=4_096, level=4)),
    "a10": Preset("8.6", BuildOptions(workspace_mb=4_096, level=4)),
    "a100": Preset("8.0", BuildOptions(workspace_mb=16_384, level=5)),
    "h100": Preset("9.0", BuildOptions(workspace_mb=16_384, level=5)),
}


def dry_run(path: Path) -> list[str]:
    """What stands in the way of a plan, found without TensorRT and without a GPU: operators and types that it has not,
    inputs and outputs other than the model's. An empty list where nothing does."""
    model = onnx.load(path, load_external_data=False)
    problems = []
    unknown = sorted({node.op_type for node in model.graph.node} - OPERATORS)
    problems += [f"TensorRT has no layer for {name}" for name in unknown]
    foreign = sorted({node.domain for node in model.graph.node} - {"", "ai.onnx"})
    problems += [f"operators of the domain {name} are ONNX Runtime's own" for name in foreign]
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except onnx.shape_inference.InferenceError as error:
        inferred = model
        problems.append(f"its types cannot be inferred: {str(error).splitlines()[0]}")
    values = [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]
    types = {onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type) for value in values}
    types |= {onnx.TensorProto.DataType.Name(one.data_type) for one in model.graph.initializer}
    problems += [f"TensorRT has no type {name}" for name in sorted(types - TYPES - {"UNDEFINED"})]
    edge = {
        value.name: (
            onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type),
            len(value.type.tensor_type.shape.dim),
        )
        for value in (*model.graph.input, *model.graph.output)
    }
    expected = {"MEL": ("FLOAT", 3), "FRAMES": ("INT32", 2), "CLIP_MAX": ("FLOAT", 2), "EMBEDDINGS": ("FLOAT", 3)}
    for name, kind in expected.items():
        if edge.get(name) != kind:
            problems.append(f"{name} is {edge.get(name, 'missing')}, not {kind}")
    zero_points = _nonzero_points(model)
    problems += [f"{name} has a zero point: TensorRT quantizes symmetrically" for name in zero_points]
    return problems


def _nonzero_points(model: onnx.ModelProto) -> list[str]:
    points = {node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear" and len(node.input) > 2}
    return [
        one.name
        for one in model.graph.initializer
        # FP8 has no integer zero; what matters is that all its bits are zero.
        if one.name in points and any(byte for byte in one.raw_data or bytes(map(abs, one.int32_data)))
    ]


def require_blocks(options: BuildOptions, max_batch_size: int) -> None:
    """Raise ExportError where the plan would take fewer blocks at once than its configuration promises (Triton would
    not load it), or more than the graph has."""
    if options.max_blocks < max_batch_size:
        raise ExportError(
            f"a plan of {options.max_blocks} blocks is too small: the tensorrt configurations have max_batch_size "
            f"{max_batch_size}, and Triton loads no plan that takes fewer; leave --max-blocks out, or lower that first"
        )
    if options.max_blocks > MAX_BLOCKS:
        raise ExportError(f"a plan of {options.max_blocks} blocks is too large: the graph takes {MAX_BLOCKS}")


def precision_words(path: Path) -> str | None:
    """What to say where the graph, and so the plan, computes in float32; None where it does not. TensorRT's networks
    are strongly typed: no option of the builder makes half precision of it."""
    if read_properties(path).get("precision", "fp32") != "fp32":
        return None
    fp16 = export_command("encoder", "CHECKPOINT", "--precision", "fp16", *place_words(path.parent))
    return (
        f"{path} is fp32, and so will be the plan: twice the memory, and a fraction of the speed of fp16; "
        f"{fp16} first, then this again"
    )


def build_plan(path: Path, target: Path, options: BuildOptions, preset: str | None = None) -> PlanRecord:
    """Write `target` (model.plan) and its record from `path` (model.onnx).

    Raises ExportError where there is no TensorRT or GPU, where the GPU is another than the preset's, or the graph
    cannot be built.
    """
    now = here()
    if preset is not None and PRESETS[preset].capability != now.capability:
        raise ExportError(
            f"the preset {preset} is for compute capability {PRESETS[preset].capability}; here is {now.capability} "
            f"({now.gpu}): build on the GPU that serves, or leave the preset out"
        )
    properties = read_properties(path)
    if properties.get("quantization") == "fp8" and tuple(map(int, now.capability.split("."))) < FP8_CAPABILITY:
        raise ExportError(f"FP8 needs compute capability 8.9 or newer; {now.gpu} has {now.capability}")
    problems = dry_run(path)
    if problems:
        raise ExportError("; ".join(problems))
    require_space(target.parent, 2 * path.stat().st_size)
    plan = _built(path, options)
    with staged(target) as folder:
        (folder / target.name).write_bytes(plan)
        record = PlanRecord(
            tensorrt=now.tensorrt,
            gpu=now.gpu,
            capability=now.capability,
            precision=properties.get("precision", "fp32"),
            quantization=properties.get("quantization", "none"),
            profiles=[asdict(profile) for profile in _profiles(path, options)],
            plan_sha256=sha256(folder / target.name),
            onnx_sha256=sha256(path),
            weights_sha256=properties.get("weights_sha256", ""),
        )
        # A record without its plan is refused; a plan with another one's record must not be there for a moment.
        record_of(target).unlink(missing_ok=True)
    record.write(target)
    return record


def _profiles(path: Path, options: BuildOptions) -> list[Any]:
    wanted = (FULL,) if read_properties(path).get("length") == "800" else PROFILES
    smallest, usual, _ = FULL.blocks
    return [replace(one, blocks=(smallest, min(usual, options.max_blocks), options.max_blocks)) for one in wanted]


def _built(path: Path, options: BuildOptions) -> bytes:
    trt = import_tensorrt()
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    flags = 0
    # TensorRT 11 knows no other networks and has no flag.
    strongly_typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    if strongly_typed is not None:
        flags |= 1 << int(strongly_typed)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    # By its path, so that external data is found beside it.
    if not parser.parse_from_file(str(path)):
        errors = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise ExportError(f"TensorRT could not read {path}: {errors}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    config.builder_optimization_level = options.level
    for wanted in _profiles(path, options):
        profile = builder.create_optimization_profile()
        shapes = list(zip(wanted.blocks, wanted.frames, strict=True))
        profile.set_shape("MEL", *((blocks, 128, frames) for blocks, frames in shapes))
        for name in ("FRAMES", "CLIP_MAX"):
            profile.set_shape(name, *((blocks, 1) for blocks, _ in shapes))
        config.add_optimization_profile(profile)
    cache = None
    if options.timing_cache is not None:
        kept = options.timing_cache.read_bytes() if options.timing_cache.is_file() else b""
        cache = config.create_timing_cache(kept)
        if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
            # Of another TensorRT or another GPU, or cut off: measured anew.
            cache = config.create_timing_cache(b"")
            config.set_timing_cache(cache, ignore_mismatch=False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ExportError(f"TensorRT could not build {path}: its log above says why")
    if cache is not None and options.timing_cache is not None:
        _keep(options.timing_cache, config.get_timing_cache() or cache)
    return bytes(plan)


def _keep(path: Path, cache: Any) -> None:
    """For the next build; a plan that took minutes is not lost for it."""
    try:
        with staged(path) as folder:
            (folder / path.name).write_bytes(bytes(cache.serialize()))
    except (ExportError, AttributeError) as error:
        print(f"         TensorRT's measurements are not kept: {error}")
