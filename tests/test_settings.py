import re
from pathlib import Path

from app.settings import Settings

SETTINGS = Path(__file__).parent.parent / "docs" / "reference" / "settings.md"


def test_every_setting_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `CONVOSCOPE_(\w+)` \| `?(.*?)`? \|", SETTINGS.read_text(), re.MULTILINE))
    documented = {name.lower(): default for name, default in rows.items()}
    assert documented.keys() == Settings.model_fields.keys()
    for name, field in Settings.model_fields.items():
        if name != "models":
            assert documented[name] == str(field.default if field.default is not None else ""), name
