"""The engine's answers are the same in both ways that steps run."""

import pytest

from tests.unit.decoder import engine_kit as kit


@pytest.fixture(scope="module", params=["as on a CPU", "as on a GPU"])
def way(request):
    kit.AS_ON_A_GPU = request.param == "as on a GPU"
    yield request.param
    kit.AS_ON_A_GPU = False
