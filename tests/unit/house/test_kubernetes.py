"""deploy/kubernetes: what Kustomize builds of it is right."""

import functools
import json
import re
import shutil

import pytest
import yaml

from frontend.settings import Settings
from tests.kubernetes import house, schemas
from tests.kubernetes.building import APPLIED, FOLDER, NotBuilt, built
from tests.kubernetes.check import complaints
from tests.kubernetes.queries import wrong_of


@functools.cache
def _built(folder):
    return built(FOLDER / folder)


@pytest.mark.parametrize("folder", APPLIED)
def test_nothing_is_wrong_of_what_is_applied(folder):
    assert complaints(_built(folder)) == []


def test_a_folder_that_cannot_be_built_is_told_in_kustomizes_words(tmp_path):
    (tmp_path / "kustomization.yaml").write_text("resources: [nothing.yaml]\n")
    with pytest.raises(NotBuilt, match=r"nothing\.yaml"):
        built(tmp_path)


def test_a_changed_profile_replaces_the_servers_and_nobody_else(tmp_path):
    """One value: the ConfigMap gets another name, and so do the pods that read it."""
    there = shutil.copytree(FOLDER, tmp_path / "kubernetes")
    overlay = there / "overlays" / "gpu" / "kustomization.yaml"
    text = overlay.read_text()
    assert text.count("PROFILE=tensorrt]") == 1
    overlay.write_text(text.replace("PROFILE=tensorrt]", "PROFILE=onnx]"))
    before = {(one["kind"], one["metadata"]["name"]): one for one in _built("overlays/gpu")}
    after = {(one["kind"], one["metadata"]["name"]): one for one in built(overlay.parent)}
    assert complaints(list(after.values())) == []
    changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    assert {kind for kind, _ in changed} == {"ConfigMap", "StatefulSet"}
    assert all(name.startswith("models-") for kind, name in changed if kind == "ConfigMap")


def test_what_the_page_shows_is_right(tmp_path):
    """An overlay of one's own, and a HorizontalPodAutoscaler."""
    shutil.copytree(FOLDER, tmp_path / "deploy" / "kubernetes")
    shown = re.findall(r"^```yaml\n(.*?)^```", (FOLDER / "README.md").read_text(), re.M | re.S)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kustomization.yaml").write_text(shown[0])
    objects = built(tmp_path / "mine")
    assert complaints(objects) == []
    text = json.dumps(objects)
    assert "registry.example.org/qwen3-asr-triton:" in text
    assert '"PROFILE": "onnx"' in text
    assert '"kind": "ServiceMonitor"' in text
    scaler = yaml.safe_load(shown[2])
    assert list(schemas.complaints([scaler])) == []
    assert yaml.safe_load(shown[1])[0]["seriesQuery"] in house.metrics()


def test_each_overlay_computes_on_what_it_is_called_after():
    for folder, gpus in (("overlays/cpu", 0), ("overlays/gpu", 2), ("overlays/keda", 2)):
        text = json.dumps(_built(folder))
        assert text.count('"nvidia.com/gpu": "1"') == gpus, folder
        assert ("qwen3-asr-triton-cpu:" in text) == (gpus == 0), folder


def test_every_file_is_part_of_something_that_is_applied():
    """Each but the pages is named by the kustomization beside it."""
    for path in FOLDER.rglob("*"):
        if path.is_file() and path.name not in ("kustomization.yaml", "README.md"):
            assert path.name in (path.parent / "kustomization.yaml").read_text(), path


def test_metrics_of_the_frontend_and_of_each_kind_of_model_are_known_with_their_labels():
    known = house.metrics()
    assert known["asr_frontend_request_seconds_bucket"] == {"route", "method", "status", "le"}
    assert known["asr_frontend_errors_total"] == {"route", "status"}
    assert known["asr_decoder_waiting"] == {"model", "priority"}
    assert known["asr_stream_sessions"] == {"model", "instance"}
    assert known["asr_room_queue_seconds_total"] == {"model", "instance", "priority"}
    assert wrong_of("sum by (model) (rate(asr_room_runs_total[1m])) / sum(asr_room_waiting)", None) == []


def test_a_variable_of_several_servers_is_checked_once_the_frontend_has_it():
    """Of the two the manifests use the one that there is."""
    used = {name for one in _built("overlays/gpu") if one["kind"] == "ConfigMap" for name in one["data"]}
    assert {"ASR_TRITON_URL", "ASR_TRITON_URLS"} & used <= {f"ASR_{name.upper()}" for name in Settings.model_fields}
