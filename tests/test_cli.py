import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import pytest

from app import __version__
from app.cli import main
from app.settings import misspelt
from tests.conftest import PICTURES

ROOT = Path(__file__).parent.parent


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


def test_predict_looks_closer_where_it_is_asked_to(client: httpx.Client, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(client, "--json", "--views", "14", PICTURES / "ship.png") == 0
    assert json.loads(capsys.readouterr().out)["views"] == 2
    assert predict(client, "--json", PICTURES / "ship.png") == 0
    assert "views" not in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([__file__], f"{__file__}: the picture begins with "),
        (["nowhere.png"], "nowhere.png: No such file or directory"),
        (["--model", "nope", str(PICTURES / "cat.png")], "expected one of accurate, fast, tutorial"),
        (["--top-k", "11", str(PICTURES / "cat.png")], "top_k is 11; expected an integer from 1 to 10"),
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
        (["[[NaN]]", "[[1]]"], "NaN is not valid JSON; null is a missing value"),
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


def test_an_address_that_cannot_be_is_told_in_one_line() -> None:
    with pytest.raises(SystemExit, match=r"^convoscope: --url is '127\.0\.0\.1:8000'; expected http://HOST:PORT, "):
        main(["predict", "--url", "127.0.0.1:8000", str(PICTURES / "cat.png")])


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


def command(*arguments: str, shell: str = 'exec "$@"', **environ: str) -> subprocess.CompletedProcess[str]:
    """`convoscope` with these arguments in a process of its own, started by the shell command `shell`."""
    program = ["bash", "-c", shell, "bash", sys.executable, "-m", "app", *arguments]
    ours = {name: value for name, value in os.environ.items() if not name.lower().endswith("proxy")}
    return subprocess.run(
        ["bash", "-c", shell, "bash", *program],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=ours | environ,
        timeout=60,
    )


def assert_one_line(result: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    assert result.returncode == code, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("convoscope: ")
    for part in parts:
        assert part in line


@pytest.mark.parametrize(
    ("shell", "reason"),
    [
        ('"$@" > >(:)', "standard output: Broken pipe"),
        ('"$@" > /dev/full', "standard output: No space left on device"),
    ],
)
def test_output_that_cannot_be_written_is_one_line(client: httpx.Client, shell: str, reason: str) -> None:
    ask = ["--url", str(client.base_url)]
    assert_one_line(command("predict", str(PICTURES / "cat.png"), *ask, shell=shell), 1, reason)
    assert_one_line(command("convolve", "[[1]]", "[[1]]", *ask, shell=shell), 1, reason)


def test_a_file_on_a_full_disk_is_one_line(client: httpx.Client, tmp_path: Path) -> None:
    full = tmp_path / "a.npy"
    full.symlink_to("/dev/full")
    found = command("convolve", "[[1]]", "[[1]]", "--output", str(full), "--url", str(client.base_url))
    assert_one_line(found, 1, "a.npy: No space left on device")


def test_closed_standard_output_is_no_traceback(client: httpx.Client) -> None:
    found = command("predict", str(PICTURES / "cat.png"), "--url", str(client.base_url), shell='"$@" >&-')
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize("name", ["日本.png", "caf\udce9.png"])
def test_a_name_that_the_terminal_cannot_show_is_escaped(client: httpx.Client, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes((PICTURES / "cat.png").read_bytes())
    for encoding in ("ascii", "utf-8"):
        found = command("predict", str(tmp_path / name), "--url", str(client.base_url), PYTHONIOENCODING=encoding)
        assert found.returncode == 0, found.stderr
        assert ".png: cat " in found.stdout


def test_ctrl_c_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # which answers nothing
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        program = [sys.executable, "-m", "app", "predict", str(PICTURES / "cat.png"), "--url", url]
        with subprocess.Popen(program, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
            connection, _ = listener.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                assert process.communicate(timeout=60)[1] == "convoscope: interrupted\n"
    assert process.returncode == 130


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
@pytest.mark.parametrize("limit", ["ulimit -v 300000", "ulimit -v 1000000", "ulimit -d 200000"])
def test_too_little_memory_is_one_line(limit: str) -> None:
    found = command("serve", "--port", "0", shell=f'{limit}; exec "$@"')
    assert_one_line(found, 1, "a limit allows this process ", " MB")


def test_a_misspelt_variable_is_warned_about() -> None:
    assert misspelt(["CONVOSCOPE_PORT", "convoscope_host", "CONVOSCOPE_REQUIRE_ALL", "PATH"]) == []
    assert misspelt(["CONVOSCOPE_MAX_BODDY", "CONVOSCOPE_XYZ"]) == [
        "no setting is called CONVOSCOPE_MAX_BODDY; did you mean CONVOSCOPE_MAX_BODY?",
        "no setting is called CONVOSCOPE_XYZ",
    ]
    found = command("serve", "--models", "nowhere", CONVOSCOPE_PROT="1")
    assert "convoscope: no setting is called CONVOSCOPE_PROT; did you mean CONVOSCOPE_PORT?\n" in found.stderr


@pytest.mark.parametrize(
    "environ",
    [
        {"HTTP_PROXY": "http://127.0.0.1:9"},
        {"ALL_PROXY": "socks5://127.0.0.1:9"},
        {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "[::1]", "no_proxy": "[::1]"},
    ],
)
def test_proxies_of_the_environment_are_not_for_loopback(client: httpx.Client, environ: dict[str, str]) -> None:
    found = command("predict", str(PICTURES / "cat.png"), "--url", str(client.base_url), **environ)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(
    "environ", [{"HTTP_PROXY": "http://name:secret@127.0.0.1:9"}, {"ALL_PROXY": "socks5://127.0.0.1:9"}]
)
def test_a_proxy_that_fails_is_named(environ: dict[str, str]) -> None:
    found = command("predict", str(PICTURES / "cat.png"), "--url", "http://convoscope.invalid", **environ)
    ((name, value),) = environ.items()
    assert_one_line(found, 1, "http://convoscope.invalid: ", f"{name}={value.replace('name:secret@', '')}")


def test_an_old_python_is_told_apart_before_anything_is_made(tmp_path: Path) -> None:
    old = tmp_path / "python3.10"
    old.write_text("#!/bin/sh\nexec " + sys.executable + ' -c "import sys; sys.version_info = (3, 10, 4); $2"\n')
    old.chmod(0o755)
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements").mkdir()
    for name in ("requirements/serve.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    found = subprocess.run(["make", "serve", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode != 0
    assert f"Convoscope needs Python 3.11 to 3.13; {old} is 3.10" in found.stderr.splitlines()[0]
    assert "Traceback" not in found.stderr
    assert not (tmp_path / ".venv").exists()


def test_make_serve_takes_port_from_the_environment_and_says_that_it_does_not_take_host() -> None:
    environ = os.environ | {"PORT": "8123", "HOST": "example"}
    plan = subprocess.run(["make", "-n", "serve"], cwd=ROOT, env=environ, capture_output=True, text=True).stdout
    assert "convoscope serve  --port 8123" in plan
    assert "HOST in the environment is not used; write: make serve HOST=example" in plan


def test_without_a_url_this_process_answers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["predict", "--model", "fast", "--json", str(PICTURES / "cat.png"), str(PICTURES / "ship.png")])
    assert not stop.value.code
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["label"] for line in found] == ["cat", "ship"]
    main(["convolve", "[[2, 4]]", "[[2]]"])
    assert json.loads(capsys.readouterr().out)["output"] == [[4, 8]]
    with pytest.raises(SystemExit, match="convoscope: stride is 0"):
        main(["convolve", "[[2, 4]]", "[[2]]", "--options", '{"stride": 0}'])


def test_a_picture_comes_from_standard_input(client: httpx.Client) -> None:
    shell = f'cat "{PICTURES / "cat.png"}" | "$@"'
    found = command("predict", "-", "--url", str(client.base_url), shell=shell)
    assert found.stdout.startswith("-: cat ")


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"convoscope {__version__}\n"
