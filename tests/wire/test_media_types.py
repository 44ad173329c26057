import pytest

from app.errors import NotAcceptable
from app.wire.media_types import JSON, NPY, PNG, choose, parameters
from tests.conftest import processor_seconds

OFFERED = (JSON, PNG, NPY)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("image/png", PNG),
        ("IMAGE/PNG ; q=0.5", PNG),
        ("image/*", PNG),
        ("application/json;q=0.1, image/png;q=0.2", PNG),
        ("application/*;q=0.5, application/x-npy", NPY),
        ("*/*, application/json;q=0", PNG),
        ("image/png;q=0.5, image/png;q=0.9, application/json;q=0.7", PNG),
        ("text/html, application/xhtml+xml, image/avif, */*;q=0.8", JSON),
    ],
)
def test_the_preferred_media_type_is_chosen(accept: str, chosen: str) -> None:
    assert choose(accept, OFFERED) == chosen


@pytest.mark.parametrize(
    "accept", ["text/html", "image/png;q=0", "image/png;q=nan", "image/png;q=inf", "image/png;q=x", ",", "png"]
)
def test_a_header_that_allows_nothing_offered_is_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="expected one of application/json, image/png, application/x-npy"):
        choose(accept, OFFERED)


@pytest.mark.parametrize("accept", ["," * 60_000, "*/*;" * 20_000, "a" * 64_000])
def test_an_endless_accept_header_costs_nothing(accept: str) -> None:
    with processor_seconds(0.05), pytest.raises(NotAcceptable, match="expected at most 2000"):
        choose(accept, OFFERED)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("image/png", ("image/png", {})),
        ("Application/JSON; charset=UTF-8", ("application/json", {"charset": "UTF-8"})),
        ('multipart/form-data; boundary="a b"', ("multipart/form-data", {"boundary": "a b"})),
        ('form-data; name="a;b\\"c"; FileName = x.png', ("form-data", {"name": 'a;b"c', "filename": "x.png"})),
        ("form-data; filename*=UTF-8''x.png", ("form-data", {"filename*": "UTF-8''x.png"})),
        ("", ("", {})),
    ],
)
def test_parameters_of_a_header_are_read(header: str, expected: tuple[str, dict[str, str]]) -> None:
    assert parameters(header) == expected
