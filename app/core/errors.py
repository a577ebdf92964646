"""The exception tree of the server. Each class has its HTTP status and its public sentence.

Clients see the text of an error, so it never contains addresses, paths or bodies.

ServerError                    500  an internal error
├── InvalidRequest             400  the body is not a valid request
├── Unauthorized               401  no API key, or a wrong one
├── InsufficientCredits        402  the budget of the API key is too small; 406 on v1
├── Forbidden                  403  the API key lacks the permission
├── NotFound                   404  unknown, expired, or of another owner
├── MethodNotAllowed           405
├── InvalidContentType         406
├── TooSlow                    408  the head or the body did not arrive in time
├── Conflict                   409  an idempotency key with another body
├── BodyTooLarge               413
├── QuotaExceeded              413  the owner's uploads would exceed their quota
├── UnsupportedEncoding        415  unsupported content coding of the body
├── RateLimited                429  over the rate limit of the API key, or over the owner's quota
│                                   of pictures that wait for preparation
├── HeadTooLarge               431
├── UnknownTransferCoding      501  unsupported transfer coding of the body
├── Unavailable                503  Redis is unreachable or no worker is available
│   ├── HistoryUnavailable          the history database is unreachable
│   ├── BlobsUnavailable            the blob store is unreachable or full
│   └── Overloaded                  admission control refuses the request; has Retry-After
├── SyncTimeout                504  v1 stopped waiting; the request continues
└── RequestFailed              422  an accepted request failed (v2); v1_status on v1
    ├── ImageRejected               the control picture cannot be fetched or decoded; 400 on v1
    │   └── UrlRejected             its URL, or a redirect of it, is not allowed
    ├── ExceedsTimeLimit            it cannot end within its time limit; 400 on v1
    ├── OutOfCredits                it costs more than the reservation and the balance; 406 on v1
    ├── ContentWithheld             the content filter withholds the picture; 400 on v1
    ├── LoraRejected                a LoRA cannot be applied; 422 on v1
    ├── GenerationFailed            the model could not generate the picture; 500 on v1
    ├── TimedOut                    a job exceeded its time limit; 504 on v1
    ├── Expired                     it did not finish before its record expired; 504 on v1
    └── Cancelled                   its owner cancelled it; 409 on v1
"""

from __future__ import annotations

from collections.abc import Mapping


class ServerError(Exception):
    """Base of the tree. headers: added to the response."""

    status = 500
    sentence = "Internal server error"

    def __init__(
        self, sentence: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(sentence or self.sentence)
        self.headers = dict(headers or {})

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


def _too_few(balance: float, cost: float) -> str:
    return f"Insufficient credits. You have {balance} credits, and this request needs {cost}"


class InsufficientCredits(ServerError):
    status = 402
    v1_status = 406

    def __init__(self, balance: float, cost: float) -> None:
        super().__init__(_too_few(balance, cost))


class Forbidden(ServerError):
    status = 403
    sentence = "This needs an admin key"


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


class QuotaExceeded(ServerError):
    status = 413
    sentence = "The uploaded pictures are more than this key's owner may have"


class UnsupportedEncoding(ServerError):
    status = 415

    def __init__(self, coding: str) -> None:
        super().__init__(
            f"Content-Encoding: {coding!r} is not understood; send the body as it is",
            {"accept-encoding": "identity"},  # RFC 9110, 15.5.16
        )


class RateLimited(ServerError):
    status = 429
    sentence = "Too many requests"


class HeadTooLarge(ServerError):
    status = 431
    sentence = "The head of the request is too large"


class UnknownTransferCoding(ServerError):
    status = 501
    sentence = "Transfer-Encoding: only chunked is understood"


class Unavailable(ServerError):
    status = 503
    sentence = "The service is temporarily unavailable, please try again"


class HistoryUnavailable(Unavailable):
    sentence = "The history is temporarily unavailable, please try again"


class BlobsUnavailable(Unavailable):
    """A job that raises it is retried, as for an error of Redis. The log has the reason."""


class Overloaded(Unavailable):
    def __init__(self, reason: str, retry_after_s: int) -> None:
        super().__init__(
            f"The service is overloaded: {reason}. Please try again in {retry_after_s} s",
            {"retry-after": str(retry_after_s)},
        )


class SyncTimeout(ServerError):
    status = 504
    sentence = "Request timed out"


class RequestFailed(ServerError):
    """The reason of a FAILED request. v1_status: HTTP status of the synchronous endpoint."""

    status = 422
    v1_status = 500
    sentence = "The request failed"


class ImageRejected(RequestFailed):
    v1_status = 400
    sentence = "image: could not be read as a picture"


class UrlRejected(ImageRejected):
    def __init__(self, reason: str) -> None:
        super().__init__(f"image: the URL cannot be used: {reason}")
        self.reason = reason


class ExceedsTimeLimit(RequestFailed):
    v1_status = 400
    sentence = "steps: the request cannot end within its time limit"


class OutOfCredits(RequestFailed):
    v1_status = InsufficientCredits.v1_status

    def __init__(self, balance: float, cost: float) -> None:
        super().__init__(_too_few(balance, cost))


class ContentWithheld(RequestFailed):
    v1_status = 400
    sentence = "The picture was withheld: it breaks the content policy of this server"


class LoraRejected(RequestFailed):
    v1_status = 422
    sentence = "A LoRA cannot be applied"


class GenerationFailed(RequestFailed):
    sentence = "The picture could not be generated"


class TimedOut(RequestFailed):
    v1_status = 504
    sentence = "The request took longer than it may"


class Expired(RequestFailed):
    v1_status = 504
    sentence = "expired: it was not made within the time that a request is kept"


class Cancelled(RequestFailed):
    v1_status = 409
    sentence = "cancelled"
