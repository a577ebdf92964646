"""The exception tree. Each error knows its HTTP status and its public sentence; the text of an
error is always fit to be shown to a client, so it never holds addresses, paths or bodies.

ServerError                    500  an internal error
├── InvalidRequest             400  the body is not a valid request
├── Unauthorized               401  no key, or a wrong one
├── NotFound                   404  unknown, expired or foreign
├── MethodNotAllowed           405
├── InvalidContentType         406
├── TooSlow                    408  the head or the body did not arrive in time
├── Conflict                   409  an idempotency key with another body
├── BodyTooLarge               413
├── HeadTooLarge               431
├── Unavailable                503  Redis is away or nobody can do the work
├── SyncTimeout                504  v1 gave up waiting; the request goes on
└── RequestFailed              422  the end of a request that was accepted (v2); v1_status on v1
    ├── ImageRejected               the control picture cannot be fetched or decoded; 400 on v1
    │   └── UrlRejected             its URL, or a host on the way, must not be used
    ├── ContentWithheld             the content filter refuses the picture; 400 on v1
    ├── GenerationFailed            the model could not make the picture; 500 on v1
    ├── TimedOut                    a job ran longer than it may; 504 on v1
    └── Cancelled                   its owner did not want it any more; 409 on v1
"""

from __future__ import annotations


class ServerError(Exception):
    """Base of the tree."""

    status = 500
    sentence = "Internal server error"

    def __init__(self, sentence: str | None = None) -> None:
        super().__init__(sentence or self.sentence)

    @property
    def text(self) -> str:
        return str(self)


class InvalidRequest(ServerError):
    status = 400
    sentence = "Invalid request"


class Unauthorized(ServerError):
    status = 401
    sentence = "Unauthorized. API key is invalid or may have expired"


class MissingKey(Unauthorized):
    sentence = "Missing Authorization or x-api-key in header"


class NotFound(ServerError):
    status = 404
    sentence = "Not found"


class MethodNotAllowed(ServerError):
    status = 405
    sentence = "Method not allowed"


class InvalidContentType(ServerError):
    status = 406
    sentence = "Invalid content type. Send application/json or multipart/form-data"


class TooSlow(ServerError):
    status = 408
    sentence = "The request did not arrive in time"


class Conflict(ServerError):
    status = 409
    sentence = "Conflict"


class BodyTooLarge(ServerError):
    status = 413
    sentence = "The request body is too large"


class HeadTooLarge(ServerError):
    status = 431
    sentence = "The head of the request is too large"


class Unavailable(ServerError):
    status = 503
    sentence = "The service is temporarily unavailable, please try again"


class SyncTimeout(ServerError):
    status = 504
    sentence = "Request timed out"


class RequestFailed(ServerError):
    """The reason of a FAILED request. v1_status is what the synchronous endpoint answers with."""

    status = 422
    v1_status = 500
    sentence = "The request failed"


class ImageRejected(RequestFailed):
    v1_status = 400
    sentence = "image: could not be read as a picture"


class UrlRejected(ImageRejected):
    def __init__(self, reason: str) -> None:
        super().__init__(f"image: the URL cannot be used: {reason}")


class ContentWithheld(RequestFailed):
    v1_status = 400
    sentence = "The picture was withheld: it breaks the content policy of this server"


class GenerationFailed(RequestFailed):
    sentence = "The picture could not be generated"


class TimedOut(RequestFailed):
    v1_status = 504
    sentence = "The request took longer than it may"


class Cancelled(RequestFailed):
    v1_status = 409
    sentence = "cancelled"
