from pathlib import Path

import httpx
import pytest

from app.cli import main
from tests.conftest import PICTURES


def predict(client: httpx.Client, *arguments: str | Path) -> int:
    """The exit code of `convoscope predict`."""
    with pytest.raises(SystemExit) as stop:
        main(["predict", "--url", str(client.base_url), *map(str, arguments)])
    return int(stop.value.code or 0)


def test_predict_prints_a_line_a_picture(client: httpx.Client, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(client, PICTURES / "ship.png", PICTURES / "cat.png") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{PICTURES / 'ship.png'}: ship ")
    assert second.startswith(f"{PICTURES / 'cat.png'}: cat ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([__file__], f"{__file__}: the picture begins with "),
        (["--model", "nope", str(PICTURES / "cat.png")], "expected one of fast, tutorial"),
        (["--top-k", "11", str(PICTURES / "cat.png")], "top_k: "),
    ],
)
def test_a_picture_that_is_refused_is_named_and_the_others_answered(
    client: httpx.Client, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert predict(client, *arguments) == 1
    assert message in capsys.readouterr().err
    assert predict(client, __file__, PICTURES / "ship.png") == 1
    assert ": ship " in capsys.readouterr().out


def test_no_service_is_told_with_its_address() -> None:
    with pytest.raises(SystemExit, match=r"http://127\.0\.0\.1:9: "):
        main(["predict", "--url", "http://127.0.0.1:9", str(PICTURES / "cat.png")])


def test_a_wrong_call_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["nope"])
    assert stop.value.code == 2
    assert "invalid choice: 'nope'" in capsys.readouterr().err


def test_training_commands_are_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda path, arguments: called.append(arguments))
    monkeypatch.setattr("sys.argv", ["convoscope", "train", "fast"])
    with pytest.raises(SystemExit):
        main()
    assert called[0][1:] == ["-m", "training", "train", "fast"]


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"nope: No such file"):
        main(["predict", str(tmp_path / "nope")])
