"""The HTTP status and the sentence of each error."""

from __future__ import annotations

import pytest

from app.core import errors
from app.core.errors import RequestFailed, ServerError

STATUSES = {
    "ServerError": 500,
    "InvalidRequest": 400,
    "Unauthorized": 401,
    "MissingKey": 401,
    "InsufficientCredits": 402,
    "Forbidden": 403,
    "NotFound": 404,
    "MethodNotAllowed": 405,
    "InvalidContentType": 406,
    "TooSlow": 408,
    "Conflict": 409,
    "BodyTooLarge": 413,
    "QuotaExceeded": 413,
    "UnsupportedEncoding": 415,
    "RateLimited": 429,
    "HeadTooLarge": 431,
    "UnknownTransferCoding": 501,
    "Unavailable": 503,
    "HistoryUnavailable": 503,
    "BlobsUnavailable": 503,
    "Overloaded": 503,
    "SyncTimeout": 504,
}
ENDS = {  # of a request: 422 on v2, this on v1
    "RequestFailed": 500,
    "ImageRejected": 400,
    "UrlRejected": 400,
    "ExceedsTimeLimit": 400,
    "OutOfCredits": 406,
    "ContentWithheld": 400,
    "LoraRejected": 422,
    "GenerationFailed": 500,
    "TimedOut": 504,
    "Expired": 504,
    "Cancelled": 409,
}
SENTENCES = {
    "ServerError": "Internal server error",
    "InvalidRequest": "Invalid request",
    "Unauthorized": "Unauthorized. API key is invalid or may have expired",
    "MissingKey": "Missing Authorization or x-api-key in header",
    "Forbidden": "This needs an admin key",
    "NotFound": "Not found",
    "MethodNotAllowed": "Method not allowed",
    "InvalidContentType": "Invalid content type. Send application/json or multipart/form-data",
    "TooSlow": "The request did not arrive in time",
    "Conflict": "Conflict",
    "BodyTooLarge": "The request body is too large",
    "QuotaExceeded": "The uploaded pictures are more than this key's owner may have",
    "RateLimited": "Too many requests",
    "HeadTooLarge": "The head of the request is too large",
    "UnknownTransferCoding": "Transfer-Encoding: only chunked is understood",
    "Unavailable": "The service is temporarily unavailable, please try again",
    "HistoryUnavailable": "The history is temporarily unavailable, please try again",
    "BlobsUnavailable": "The service is temporarily unavailable, please try again",
    "SyncTimeout": "Request timed out",
    "RequestFailed": "The request failed",
    "ImageRejected": "image: could not be read as a picture",
    "ExceedsTimeLimit": "steps: the request cannot end within its time limit",
    "ContentWithheld": "The picture was withheld: it breaks the content policy of this server",
    "LoraRejected": "A LoRA cannot be applied",
    "GenerationFailed": "The picture could not be generated",
    "TimedOut": "The request took longer than it may",
    "Expired": "expired: it was not made within the time that a request is kept",
    "Cancelled": "cancelled",
}


def tree(root: type[ServerError]) -> list[type[ServerError]]:
    return [root, *(below for child in root.__subclasses__() for below in tree(child))]


def test_every_error_has_its_status() -> None:
    found = {error.__name__: error.status for error in tree(ServerError)}
    assert found == STATUSES | dict.fromkeys(ENDS, 422)


def test_every_end_of_a_request_has_its_status_on_v1() -> None:
    assert {error.__name__: error.v1_status for error in tree(RequestFailed)} == ENDS  # type: ignore[attr-defined]  # all are RequestFailed
    assert errors.InsufficientCredits.v1_status == 406


@pytest.mark.parametrize(("name", "sentence"), SENTENCES.items())
def test_an_error_without_a_sentence_has_its_own(name: str, sentence: str) -> None:
    kind: type[ServerError] = getattr(errors, name)
    assert (kind().text, kind().headers) == (sentence, {})
    assert kind("another").text == "another"


def test_credits_that_are_too_few_are_named_with_the_need() -> None:
    sentence = "Insufficient credits. You have 0.0 credits, and this request needs 2.5"
    assert errors.InsufficientCredits(0.0, 2.5).text == sentence
    assert errors.OutOfCredits(0.0, 2.5).text == sentence


def test_an_overloaded_server_says_when_to_come_back() -> None:
    error = errors.Overloaded("5 requests wait already", 42)
    assert error.text == (
        "The service is overloaded: 5 requests wait already. Please try again in 42 s"
    )
    assert error.headers == {"retry-after": "42"}


def test_a_coding_that_is_not_understood_is_named_with_what_is() -> None:
    error = errors.UnsupportedEncoding("gzip")
    assert error.text == "Content-Encoding: 'gzip' is not understood; send the body as it is"
    assert error.headers == {"accept-encoding": "identity"}


def test_a_url_that_is_refused_has_its_reason() -> None:
    error = errors.UrlRejected("its port is not allowed")
    assert error.text == "image: the URL cannot be used: its port is not allowed"
    assert error.reason == "its port is not allowed"


def test_headers_of_an_error_are_its_own() -> None:
    given = {"retry-after": "1"}
    error = ServerError(headers=given)
    error.headers["x"] = "y"
    assert given == {"retry-after": "1"}
