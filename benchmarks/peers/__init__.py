"""Other ways to serve the same network, each in an environment of its own under .cache/benchmarks.

A peer is a module here, run as `python -m benchmarks.peers.<name> --port N`: it takes a picture by POST at /predict,
does with it what `common` does, batches as its documentation says, and answers with the three most probable labels.
"""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".cache" / "benchmarks"
ENGINE = tuple(f"{name}=={version(name)}" for name in ("numpy", "openvino", "pillow"))
"""As this project itself has them."""

EDGE = b"edge-of-a-part"


@dataclass(frozen=True)
class Peer:
    """A server to measure. One without requirements runs in this project's own environment."""

    name: str
    title: str
    requirements: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    path: str = "/predict"
    environment: dict[str, str] = field(default_factory=dict)
    form: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    """Of every request."""

    def packed(self, picture: bytes) -> tuple[bytes, str]:
        """The body of a request and its content type: the picture as it is, or as the part `form` of a form."""
        if not self.form:
            return picture, "image/png"
        part = (
            f'Content-Disposition: form-data; name="{self.form}"; filename="0.png"\r\nContent-Type: image/png\r\n\r\n'
        )
        return b"--%b\r\n%b%b\r\n--%b--\r\n" % (
            EDGE,
            part.encode(),
            picture,
            EDGE,
        ), f"multipart/form-data; boundary={EDGE.decode()}"

    @property
    def python(self) -> Path:
        return ENVIRONMENTS / self.name / "bin" / "python" if self.requirements else Path(sys.executable)

    def arguments(self, port: int) -> list[str]:
        """The command that serves on `port`."""
        command = self.command or ("-m", f"benchmarks.peers.{self.name}")
        return [str(self.python), *command, "--port", str(port)]

    def install(self) -> None:
        """Make its environment, unless it is there already with the same requirements."""
        if not self.requirements:
            return
        wanted = "\n".join((*ENGINE, *self.requirements))
        installed = ENVIRONMENTS / self.name / "installed"
        if installed.exists() and installed.read_text() == wanted:
            return
        print(f"installing {self.title}", file=sys.stderr)
        uv = Path(sys.executable).with_name("uv")
        folder = installed.parent
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        command: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", self.python, *wanted.split("\n")]
        subprocess.run(command, check=True, env={**os.environ, "UV_LINK_MODE": "copy"})
        installed.write_text(wanted)


CONVOSCOPE = Peer(
    "convoscope",
    "Convoscope",
    command=("-m", "app", "serve"),
    path="/predict?model=fast",
    environment={"CONVOSCOPE_DEFAULT_MODEL": "fast"},
)

PEERS = (
    Peer("mosec", "mosec 0.9.8", ("mosec==0.9.8",)),
    Peer("handler", "FastAPI, engine in the handler"),
    Peer("mlserver", "MLServer 1.7.1", ("mlserver==1.7.1",)),
    Peer(
        "bentoml",
        "BentoML 1.4.40",
        ("bentoml==1.4.40",),
        environment={"BENTOML_DO_NOT_TRACK": "True"},
        form="pictures",
    ),
    Peer("litserve", "LitServe 0.2.19", ("litserve==0.2.19",)),
    Peer(
        "ray",
        "Ray Serve 2.60.0",
        ("ray[haproxy,serve]==2.60.0",),
        environment={
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_HAPROXY_MAXCONN": "1000",
        },
    ),
    Peer("keras", "FastAPI, Keras `predict`", environment={"TF_CPP_MIN_LOG_LEVEL": "3"}),
    Peer("floor", "(an event loop, and no service)"),
)
