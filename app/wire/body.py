"""A request's body to its parts, whatever media type it has: every route reads bodies through here."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from app.errors import MalformedRequest, UnsupportedPicture
from app.settings import Settings
from app.wire import json, media_types, multipart
from app.wire.multipart import Part

MEDIA_TYPES = "multipart/form-data, image/*, application/json or application/x-npy"
MAX_FIELDS = 32
"""The most text fields that a form may have in addition to its pictures."""


class Body(NamedTuple):
    """A body after the first step: a JSON document, or named parts that are bytes."""

    media_type: str
    """As declared; JSON also where the type is not declared and the body begins as a JSON object does."""
    parts: Sequence[Part] = ()
    """A body that is neither JSON nor a form is one part called `body`."""
    document: Any = None
    """What a JSON body holds."""

    @property
    def is_json(self) -> bool:
        return self.media_type == media_types.JSON


def parse(content_type: str, content: bytes, settings: Settings) -> Body:
    """The body of a request with this Content-Type.

    Raises MalformedRequest if the body is empty or not what `content_type` declares, TooLarge if it has too many parts
    or JSON values, UnsupportedPicture if `content_type` is not one we read.
    """
    if not content:
        raise MalformedRequest.about("body", "the body is empty; expected an image or an array")
    media_type, parameters = media_types.parameters(content_type)
    if media_type.startswith("image/") or media_type == media_types.NPY:
        return Body(media_type, [Part("body", content)])
    untyped = media_type in media_types.UNTYPED
    if media_type == media_types.JSON or (untyped and content[:64].lstrip()[:1] == b"{"):
        return Body(media_types.JSON, document=json.parse(content, "body", settings.max_json_values))
    if media_type == media_types.MULTIPART:
        limit = settings.max_pictures + MAX_FIELDS
        return Body(media_type, multipart.parse(content, parameters.get("boundary", ""), limit))
    if untyped:
        return Body(media_type, [Part("body", content)])
    detail = f"the content type is {content_type!r:.100}; expected {MEDIA_TYPES}"
    raise UnsupportedPicture.about("Content-Type", detail)
