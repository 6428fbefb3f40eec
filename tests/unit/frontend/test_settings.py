"""Variables as people and compose files set them."""

import pytest
from pydantic import ValidationError

from frontend.settings import Settings


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.setenv(f"ASR_{name.upper()}", "")
    settings, plain = Settings(), None
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ASR_{name.upper()}")
    plain = Settings()
    assert settings == plain
    assert settings.profile is None


@pytest.mark.parametrize("value", ["secret", "[", '{"a": 1}', "3", '"one"'])
def test_a_list_that_is_none_is_named_with_an_example(monkeypatch, value):
    monkeypatch.setenv("ASR_CORS_ORIGINS", value)
    with pytest.raises(ValidationError) as raised:
        Settings()
    (problem,) = raised.value.errors()
    assert problem["loc"] == ("cors_origins",)
    assert problem["msg"].endswith('is not a JSON list, such as ["one", "two"]')


def test_a_list_is_json(monkeypatch):
    monkeypatch.setenv("ASR_API_KEYS", '["first", "second"]')
    assert Settings().api_keys == ["first", "second"]


def test_the_default_profile_has_a_word(monkeypatch):
    monkeypatch.setenv("ASR_MODEL_CONFIG_NAME", "default")
    assert Settings().profile == ""
    monkeypatch.setenv("ASR_MODEL_CONFIG_NAME", "two_sizes")
    assert Settings().profile == "two_sizes"
