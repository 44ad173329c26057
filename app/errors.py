"""Every failure the service tells a caller about, each with its HTTP status beside its name.

ConvoscopeError
├── MalformedRequest       400  the body is not what its content type says
├── NotFound               404  no such page, model or layer
├── MethodNotAllowed       405  the path exists, the method does not
├── NotAcceptable          406  none of the forms an answer can take is one the caller accepts
├── RequestTimeout         408  the rest of the request did not come
├── TooLarge               413  more bytes, pixels or pictures than the settings allow
├── UnsupportedPicture     415  not a picture format we read, or a content type or coding we do not take
├── InvalidInput           422  well-formed, but a value is wrong
├── HeadTooLarge           431  a request's line and headers have no end
├── CallerLeft             499  nobody is there to read the answer
├── Overloaded             503  the queue is full
├── Draining               503  the service is stopping
├── DeadlineExceeded       504  the answer would have come too late
└── InternalError          500  a mistake of ours

`problems.py` turns them into `application/problem+json`; nothing else does. ArtifactError is for whoever runs the
service: to a caller it is a mistake of ours, as every other exception.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with a request.

    `field` is a JSON pointer ("/images/0"), a multipart part's name, a query parameter's name or "body";
    `detail` names the value and what was expected.
    """

    field: str
    detail: str


class ConvoscopeError(Exception):
    """Base of everything this service tells a caller on purpose."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    type: ClassVar[str] = "internal-error"

    def __init__(self, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)

    @classmethod
    def about(cls, field: str, detail: str) -> Self:
        """A failure for which one field is to blame; see FieldError."""
        return cls(detail, [FieldError(field, detail)])


class MalformedRequest(ConvoscopeError):
    """The body is not what its content type says: broken JSON, multipart or npy, or nothing at all."""

    status = 400
    title = "Malformed request"
    type = "malformed-request"


class NotFound(ConvoscopeError):
    """No such page, model or layer."""

    status = 404
    title = "Not found"
    type = "not-found"


class MethodNotAllowed(ConvoscopeError):
    """The path exists, but not with this method."""

    status = 405
    title = "Method not allowed"
    type = "method-not-allowed"

    def __init__(self, detail: str, errors: Sequence[FieldError] = (), *, allowed: str = "") -> None:
        super().__init__(detail, errors)
        self.allowed = allowed


class NotAcceptable(ConvoscopeError):
    """The caller's Accept header names none of the forms the answer can take."""

    status = 406
    title = "Not acceptable"
    type = "not-acceptable"


class RequestTimeout(ConvoscopeError):
    """The caller has begun a request, and for a while nothing more of it came."""

    status = 408
    title = "Request incomplete"
    type = "request-timeout"


class TooLarge(ConvoscopeError):
    """More bytes, pixels or pictures than the settings allow."""

    status = 413
    title = "Too large"
    type = "too-large"


class UnsupportedPicture(ConvoscopeError):
    """The bytes are no picture format we read, or the content type is none we take."""

    status = 415
    title = "Not a picture we read"
    type = "unsupported-picture"


class InvalidInput(ConvoscopeError):
    """The request is well-formed, but a value in it is wrong."""

    status = 422
    title = "Invalid input"
    type = "invalid-input"


class HeadTooLarge(ConvoscopeError):
    """A request's line and headers are more than anyone needs."""

    status = 431
    title = "Headers too large"
    type = "head-too-large"


class CallerLeft(ConvoscopeError):
    """The connection was closed before the answer; nginx's status for it, seen only in the metrics.

    Also of a request that began, but did not go on.
    """

    status = 499
    title = "Caller left"
    type = "caller-left"


class Overloaded(ConvoscopeError):
    """The queue is full; the caller may try again after a moment."""

    status = 503
    title = "Service full"
    type = "overloaded"


class Draining(ConvoscopeError):
    """The service is stopping: work in hand is finished, new work is refused."""

    status = 503
    title = "Service stopping"
    type = "draining"


class DeadlineExceeded(ConvoscopeError):
    """The answer would have come after the deadline, so the work was dropped."""

    status = 504
    title = "Deadline exceeded"
    type = "deadline-exceeded"


class InternalError(ConvoscopeError):
    """A mistake of ours; the log has the details under the request's id."""


class ArtifactError(Exception):
    """What is under models/ cannot be served; stops the start and names the file, what was found and expected."""
