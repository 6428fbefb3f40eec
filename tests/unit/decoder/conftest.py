"""The engine's answers are the same in all ways that steps run."""

import pytest

from tests.unit.decoder import engine_kit as kit


@pytest.fixture(scope="module", params=["as on a CPU", "as on a GPU", "weights of 16 bits"])
def way(request):
    kit.AS_ON_A_GPU = request.param == "as on a GPU"
    kit.IN_16_BITS = request.param == "weights of 16 bits"
    if kit.IN_16_BITS and not any(isinstance(one, kit.products.HalfMatrix) for one in kit.matrices(kit.network())):
        pytest.skip("PyTorch has no kernels for weights of 16 bits here")
    yield request.param
    kit.AS_ON_A_GPU = kit.IN_16_BITS = False
