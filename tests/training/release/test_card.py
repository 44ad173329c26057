import json

import pytest

from tests.conftest import MODELS
from training.release import card


@pytest.mark.parametrize("name", ["accurate", "fast", "tutorial"])
def test_a_shipped_card_is_what_its_metadata_is_rendered_to(name: str) -> None:
    metadata = json.loads((MODELS / name / "metadata.json").read_text())
    assert (MODELS / name / "README.md").read_text() == card.render(metadata)
