import json
import tempfile
from pathlib import Path

import httpx
import pytest

from app.cli import main
from tests.conftest import PICTURES


def test_several_workers_say_what_folder_they_lack(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit, match=r"several workers need a folder to count in, .*nowhere"):
        main(["serve", "--workers", "2", "--port", "0"])


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
        (["nowhere.png"], "nowhere.png: No such file or directory"),
        (["--model", "nope", str(PICTURES / "cat.png")], "expected one of accurate, fast, tutorial"),
        (["--top-k", "11", str(PICTURES / "cat.png")], "top_k: "),
    ],
)
def test_a_picture_that_is_refused_is_named_and_the_others_answered(
    client: httpx.Client, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert predict(client, *arguments) == 1
    assert message in capsys.readouterr().err
    assert predict(client, "nowhere.png", __file__, PICTURES / "ship.png") == 1
    assert ": ship " in capsys.readouterr().out


def test_convolve_prints_json_or_writes_a_file(
    client: httpx.Client, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    url = ["--url", str(client.base_url)]
    main(["convolve", "[[2, 4], [6, 8]]", "[[2]]", "--options", '{"operation": "correlation"}', *url])
    assert json.loads(capsys.readouterr().out)["output"] == [[4, 8], [12, 16]]
    main(["convolve", str(PICTURES / "ship.png"), "outline", "--output", str(tmp_path / "edges.png"), *url])
    assert (tmp_path / "edges.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["[[1, 2]]", "nope"], "no mask is called 'nope'"),
        (["[[1, 2", "identity"], "expected JSON"),
        (["[[1]]", "[[1]]", "--options", "x"], "expected JSON"),
        (["[[1]]", "[[1]]", "--options", "[]"], "expected a JSON object without input and mask"),
        (["[[1]]", "[[1]]", "--options", '{"mask": 1}'], "expected a JSON object without input and mask"),
        (["[[1]]", "[[1]]", "--output", "x.gif"], r"ends in \.png or \.npy"),
        (["[[1]]", "[[1]]", "--output", "x.npz"], r"ends in \.png or \.npy"),
        (["[[NaN]]", "[[1]]"], "NaN is no JSON; null is a missing value"),
        (["nowhere.png", "identity"], "nowhere.png: No such file"),
    ],
)
def test_convolve_says_what_is_wrong(client: httpx.Client, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        main(["convolve", *arguments, "--url", str(client.base_url)])


def test_feature_maps_prints_json_or_writes_a_file(
    client: httpx.Client, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    url = ["--url", str(client.base_url)]
    main(["feature-maps", str(PICTURES / "ship.png"), "--layer", "whiten", "--layer", "head", "--top", "1", *url])
    assert [layer["name"] for layer in json.loads(capsys.readouterr().out)["layers"]] == ["whiten", "head"]
    main(["feature-maps", str(PICTURES / "ship.png"), "--model", "tutorial", "--output", str(tmp_path / "a.npz"), *url])
    assert (tmp_path / "a.npz").read_bytes().startswith(b"PK")
    with pytest.raises(SystemExit, match="no layer called 'nope'"):
        main(["feature-maps", str(PICTURES / "ship.png"), "--layer", "nope", *url])


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
