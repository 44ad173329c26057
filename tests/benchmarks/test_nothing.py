import numpy as np
import pytest

from benchmarks import nothing


@pytest.mark.parametrize("kind", nothing.KINDS)
def test_pictures_of_nothing_are_the_same_each_time_and_all_differ(kind: str) -> None:
    found = nothing.draw(kind, 20)
    assert found.shape == (20, 32, 32, 3)
    assert found.dtype == np.uint8
    assert np.array_equal(found, nothing.draw(kind, 20))
    assert len(np.unique(found.reshape(20, -1), axis=0)) == 20
    assert (found.std(axis=(1, 2, 3)) > 1).all()
