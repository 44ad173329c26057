"""Everything that can be set from outside, in one frozen place."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The service's settings; each is read from the environment variable CONVOSCOPE_<NAME>.

    Raises pydantic.ValidationError, naming the variable, the value and what was expected.
    """

    model_config = SettingsConfigDict(env_prefix="CONVOSCOPE_", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65_535, description="0 lets the system choose a free port")
    models: Path = Field(Path(__file__).parent.parent / "models", description="folder with one artifact a folder")
    default_model: str | None = Field(None, description="served where a request names none; else accurate, then fast")

    precision: Literal["auto", "float32", "bfloat16", "int8"] = Field(
        "auto",
        description="arithmetic of the networks; auto is the best here that costs each one at most 0.1 points",
    )
    workers: int = Field(1, ge=1, le=128, description="processes that share the address, each with its own networks")
    threads: int = Field(0, ge=0, description="cores a process computes on; 0 is all of them, or a worker's share")
    max_batch: int = Field(32, ge=1, description="pictures in one inference")
    max_queue: int = Field(512, ge=1, description="pictures waiting for one network; 503 beyond")
    deadline: float = Field(10.0, gt=0, description="seconds a request may wait for its answer before a 504")
    read_timeout: float = Field(20.0, gt=0, description="seconds in which a request's head must be complete; then 408")
    min_body_rate: int = Field(500, ge=1, description="bytes per second of a body, over read_timeout; 408 below")
    write_timeout: float = Field(30.0, gt=0, description="seconds without progress after which a reader is cut off")
    keep_alive: float = Field(75.0, gt=0, description="seconds that an idle connection stays open")
    drain: float = Field(30.0, gt=0, description="seconds that in-flight requests get after SIGTERM")
    allowed_hosts: str = Field(
        "", description="host names to answer to, with commas; * is any; by default this computer's on loopback, else *"
    )

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
    unknown = [name for name in ours if name.upper().removeprefix(PREFIX) not in known]
    return [f"no setting is called {name}{_nearest(name.upper().removeprefix(PREFIX), known)}" for name in unknown]


def _nearest(name: str, known: Sequence[str]) -> str:
    found = get_close_matches(name, known, n=1)
    return f"; did you mean {PREFIX}{found[0]}?" if found else ""
