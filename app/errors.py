"""Every failure that the service reports to a client.

ConvoscopeError
├── MalformedRequest       the body is not what its content type says
├── Unauthorized           no API key, or a wrong one
├── Forbidden              another site's page, or a host name that is not ours
├── NotFound               no such page, model or layer
├── MethodNotAllowed       the path exists, but not with this method
├── NotAcceptable          the client accepts none of the media types the answer can have
├── RequestTimeout         the rest of the request did not arrive in time
├── TooLarge               more bytes, pixels or pictures than the settings allow
├── UnsupportedPicture     not an image format we read, or a content type or coding we do not accept
├── InvalidInput           well-formed, but a value is wrong
├── HeadTooLarge           the request line and headers are too long
├── ClientDisconnected     nobody is there to read the answer
├── RateLimited            more requests than this caller may send
├── Overloaded             there is no room for another request now
├── Unavailable            a network's files are damaged or missing
├── Draining               the service is stopping
├── DeadlineExceeded       the answer would have come too late
└── InternalError          a mistake of ours

These classes know no HTTP: `wire.problems` gives each its status and its `application/problem+json` body. ArtifactError
is for the operator: to a client it is a mistake of ours, like every other exception.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with a request.

    `field` is what the client calls it: a JSON pointer ("/images/0"), the name of a multipart part, of a query
    parameter or of a header, or "body". Domain code does not know how a value was sent; it gives the parameter's name
    ("mask", "trace/at"), and `wire.problems.in_json` makes a JSON pointer of it. `detail` names the value and what was
    expected.
    """

    field: str
    detail: str


# Not typing.Self: the client has a copy of this file, for Python 3.10 too.
Failure = TypeVar("Failure", bound="ConvoscopeError")
Kind = type[Failure]


class ConvoscopeError(Exception):
    """Base of every failure that the service reports on purpose."""

    type: ClassVar[str] = "internal-error"
    """The stable name of this kind of failure, for programs."""

    def __init__(self, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)

    @classmethod
    def about(cls: Kind[Failure], field: str, detail: str) -> Failure:
        """A failure for which one field or parameter is to blame; see FieldError."""
        return cls(detail, [FieldError(field, detail)])


class MalformedRequest(ConvoscopeError):
    """The body is not what its content type says: broken JSON, multipart or npy, or nothing at all."""

    type = "malformed-request"


class Unauthorized(ConvoscopeError):
    """The request carries no API key, or one that is not known here."""

    type = "unauthorized"


class Forbidden(ConvoscopeError):
    """The request names a host that this service does not answer to, or comes from another site's page."""

    type = "forbidden"


class NotFound(ConvoscopeError):
    """No such page, model or layer."""

    type = "not-found"


class MethodNotAllowed(ConvoscopeError):
    """The path exists, but not with this method."""

    type = "method-not-allowed"

    def __init__(self, detail: str, errors: Sequence[FieldError] = (), *, allowed: str = "") -> None:
        super().__init__(detail, errors)
        self.allowed = allowed


class NotAcceptable(ConvoscopeError):
    """The client's Accept header names none of the media types the answer can have."""

    type = "not-acceptable"


class RequestTimeout(ConvoscopeError):
    """The client began a request, and the rest of it did not arrive in time."""

    type = "request-timeout"


class TooLarge(ConvoscopeError):
    """More bytes, pixels or pictures than the settings allow."""

    type = "too-large"


class UnsupportedPicture(ConvoscopeError):
    """The bytes are not an image format we read, or the content type or coding is not one we accept."""

    type = "unsupported-picture"


class InvalidInput(ConvoscopeError):
    """The request is well-formed, but a value in it is wrong."""

    type = "invalid-input"


class HeadTooLarge(ConvoscopeError):
    """The request line and headers, or the trailer, are longer than the limit."""

    type = "head-too-large"


class ClientDisconnected(ConvoscopeError):
    """The connection was closed before the answer, or before the request was complete."""

    type = "client-disconnected"


class RateLimited(ConvoscopeError):
    """This caller has sent more requests than it may; it may send the next after `wait` seconds."""

    type = "rate-limited"

    def __init__(self, detail: str, errors: Sequence[FieldError] = (), *, wait: float = 1.0) -> None:
        super().__init__(detail, errors)
        self.wait = wait


class Overloaded(ConvoscopeError):
    """There is no room for another request; the client may try again after a moment."""

    type = "overloaded"


class Unavailable(ConvoscopeError):
    """A network that is installed here cannot be served, because its files are damaged or missing."""

    type = "unavailable"


class Draining(ConvoscopeError):
    """The service is stopping: in-flight requests are finished, new ones are rejected."""

    type = "draining"


class DeadlineExceeded(ConvoscopeError):
    """The answer would have come after the deadline, so the work was dropped."""

    type = "deadline-exceeded"


class InternalError(ConvoscopeError):
    """A mistake of ours; the log has the details under the request's id."""


MOST_LISTED = 20
"""Names that a detail lists."""


def one_of(names: Sequence[str]) -> str:
    """What is expected where a name is none of `names`, for a detail; of very many, the first."""
    if not names:
        return "none, for there is none"
    rest = f", … ({len(names)} in all)" if len(names) > MOST_LISTED else ""
    return f"one of {', '.join(names[:MOST_LISTED])}{rest}"


class ArtifactError(Exception):
    """An artifact under models/ cannot be served. The message names the file, what was found and what was expected."""
