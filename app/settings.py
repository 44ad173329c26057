"""Everything that can be set from outside, in one frozen place."""

import os
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

SAGEMAKER_MODELS = Path("/opt/ml/model")
"""The folder that SageMaker mounts into every container that serves."""


class Settings(BaseSettings):
    """The service's settings; each is read from the environment variable CONVOSCOPE_<NAME>.

    Raises pydantic.ValidationError, naming the variable, the value and what was expected.
    """

    model_config = SettingsConfigDict(env_prefix="CONVOSCOPE_", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65_535, description="0 lets the system choose a free port")
    uds: Path | None = Field(None, description="path of a Unix socket to listen on instead of host and port")
    models: Path = Field(Path(__file__).parent.parent / "models", description="folder with one artifact a folder")
    default_model: str | None = Field(
        None, description="name or name@version to serve where a request names none; else accurate, then fast"
    )

    reload: bool = Field(True, description="notice new, changed and removed artifacts while running; off freezes them")
    precision: Literal["auto", "float32", "bfloat16", "int8"] = Field(
        "auto",
        description="arithmetic of the networks; auto is the best here that costs each one at most 0.1 points",
    )
    workers: int = Field(1, ge=1, le=128, description="processes that share the address, each with its own networks")
    threads: int = Field(
        0, ge=0, description="cores a process computes on; 0 is all that it may use, or a worker's share"
    )
    max_batch: int = Field(32, ge=1, description="pictures in one inference")
    max_queue: int = Field(512, ge=1, description="pictures waiting for one network; 503 beyond")
    deadline: float = Field(10.0, gt=0, description="seconds a request may wait for its answer before a 504")
    read_timeout: float = Field(20.0, gt=0, description="seconds in which a request's head must be complete; then 408")
    min_body_rate: int = Field(500, ge=1, description="bytes per second of a body, over read_timeout; 408 below")
    write_timeout: float = Field(30.0, gt=0, description="seconds without progress after which a reader is cut off")
    keep_alive: float = Field(75.0, gt=0, description="seconds that an idle connection stays open")
    drain: float = Field(25.0, gt=0, description="seconds that in-flight requests get after SIGTERM")
    allowed_hosts: str = Field(
        "", description="host names to answer to, with commas; * is any; by default this computer's on loopback, else *"
    )
    api_keys: SecretStr | None = Field(
        None, description="who may ask: pairs name:key, separated by commas; by default anybody"
    )
    api_keys_file: Path | None = Field(None, description="the same, one pair per line; read again when it changes")
    metrics_public: bool = Field(False, description="whether /metrics needs no key")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="the least that is logged; debug has the reason of every rejection"
    )
    log_format: Literal["text", "json"] = Field("text", description="lines for people or for machines")
    access_log: Literal["off", "on"] = Field("off", description="on writes a line for each request")
    prediction_log: Path | None = Field(None, description="folder that gets a sample of what was predicted")
    prediction_log_sample: float = Field(1.0, gt=0, le=1, description="share of the predictions that it gets")
    prediction_log_pictures: bool = Field(False, description="whether it gets the pictures, as the network took them")
    prediction_log_bytes: int = Field(100_000_000, ge=10_000, description="bytes in one of its files")
    prediction_log_files: int = Field(10, ge=1, description="files that it holds; the oldest are removed")
    rate_limit: float = Field(
        0.0, ge=0, description="requests per second from one key, or from one address without; 429 beyond; 0 is any"
    )
    rate_burst: int = Field(20, ge=1, description="requests that may come at once before the rate counts")
    cors_origins: str = Field("", description="web origins whose pages may call, separated by commas; * is all")
    root_path: str = Field("", pattern=r"^((/[\w.~-]+)+)?$", description="path prefix that a proxy offers us under")
    trusted_proxies: str = Field("", description="proxies whose forwarded headers are believed")
    predict_route: str | None = Field(None, pattern="^/", description="another path for POST /invocations")
    health_route: str | None = Field(None, pattern="^/", description="another path for GET /ping")

    max_body: int = Field(64_000_000, ge=1, description="bytes in one request body")
    max_bodies: int = Field(256_000_000, ge=1, description="bytes of all request bodies in flight; 503 beyond")
    max_answers: int = Field(512_000_000, ge=1, description="bytes of answers not read yet by clients; 503 beyond")
    max_pictures: int = Field(256, ge=1, description="pictures in one request")
    max_pixels: int = Field(64_000_000, ge=1, description="width times height of one picture")
    max_json_values: int = Field(1_000_000, ge=1, description="numbers in one JSON body or answer")
    max_elements: int = Field(
        200_000_000, ge=1, description="elements of an array to convolve, padded, or of the result"
    )
    max_answer: int = Field(256_000_000, ge=1, description="bytes of the values in one npy answer")
    max_multiply_adds: int = Field(10_000_000_000, ge=1, description="multiply-adds of one convolution or pooling")
    max_jobs: int = Field(64, ge=1, description="in-flight requests other than predictions; 503 beyond")
    client_share: float = Field(
        0.5, gt=0, le=1, description="share of them, and of decoding, that one address may have; 1 behind a proxy"
    )

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *args: PydanticBaseSettingsSource, **named: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What a cloud says counts less than what its user sets."""
        return (*super().settings_customise_sources(settings_cls, *args, **named), _Cloud(settings_cls))

    @field_validator("trusted_proxies")
    @classmethod
    def _names_networks(cls, trusted: str) -> str:
        for part in filter(None, map(str.strip, trusted.split(","))):
            if part != "unix":
                ip_network(part)  # which says what is wrong with it
        return trusted

    @model_validator(mode="after")
    def _a_whole_request_fits(self) -> Self:
        if self.max_body > self.max_bodies:
            raise ValueError(
                f"max_body is {self.max_body} and max_bodies {self.max_bodies}; "
                "expected max_body to be at most max_bodies, or such a body could never be admitted"
            )
        if self.max_pictures > self.max_queue:
            raise ValueError(
                f"max_pictures is {self.max_pictures} and max_queue {self.max_queue}; "
                "expected max_pictures to be at most max_queue, or such a request could never be admitted"
            )
        return self


PREFIX = "CONVOSCOPE_"
OTHERS = {"CONVOSCOPE_REQUIRE_ALL"}
"""Variables that are not settings; the tests read them."""


def misspelt(environ: Iterable[str]) -> list[str]:
    """A warning for each variable of an environment that begins like a setting and is not one."""
    known = [name.upper() for name in Settings.model_fields]
    ours = [name for name in environ if name.upper().startswith(PREFIX) and name.upper() not in OTHERS]
    if any(name.upper().startswith("CONVOSCOPE_API_KEYS") for name in ours):
        known.append("API_KEY")  # which the command line sends; without the others it is a slip of the pen for them
    unknown = [name for name in ours if name.upper().removeprefix(PREFIX) not in known]
    return [f"no setting is called {name}{_nearest(name.upper().removeprefix(PREFIX), known)}" for name in unknown]


def _nearest(name: str, known: Sequence[str]) -> str:
    found = get_close_matches(name, known, n=1)
    return f"; did you mean {PREFIX}{found[0]}?" if found else ""


def cloud_contract(environ: Mapping[str, str], sagemaker_models: Path) -> dict[str, Any]:
    """The settings that a cloud's contract for containers asks for.

    SageMaker is recognised by the folder it mounts: its port is 8080, and artifacts in the folder are served instead of
    the shipped ones. Vertex AI has variables of its own.
    """
    found: dict[str, Any] = {}
    if sagemaker_models.is_dir():
        found["port"] = environ.get("SAGEMAKER_BIND_TO_PORT", "8080")
        if any(sagemaker_models.glob("*/metadata.json")):
            found["models"] = sagemaker_models
    variables = {"AIP_HTTP_PORT": "port", "AIP_PREDICT_ROUTE": "predict_route", "AIP_HEALTH_ROUTE": "health_route"}
    return found | {setting: environ[name] for name, setting in variables.items() if environ.get(name)}


class _Cloud(PydanticBaseSettingsSource):
    """Settings from `cloud_contract`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return cloud_contract(os.environ, SAGEMAKER_MODELS)
