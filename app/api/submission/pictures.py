"""The pictures of a submission: which ones a body names, their limits, and how they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from redis.exceptions import RedisError

from app.api.deps import Services
from app.api.wire.requests import FluxControlNetBody
from app.core.egress.urls import MAX_LENGTH as URL_MAX
from app.core.errors import BlobsUnavailable, InvalidRequest
from app.core.images.data_uri import decoded_size
from app.core.redis import keys
from app.core.requests.record import Stage
from app.core.requests.types import Source, SourceKind


@dataclass(frozen=True, slots=True)
class SentPicture:
    """A picture of a submission. field: the parameter that holds it, as in Source. text: its value,
    a URL or base64, which has no meaning if the picture came as a file. upload: the bytes of a
    file. inline: long base64; the body has only a placeholder then.
    """

    field: str
    text: str
    upload: bytes | None = None
    inline: bytes | None = None

    @property
    def encoded(self) -> bytes:
        """The picture as base64, if it is neither a file nor a URL."""
        return self.text.encode() if self.inline is None else self.inline

    @property
    def by_url(self) -> bool:
        return self.upload is None and "://" in self.text[:16]

    @property
    def data(self) -> bytes:
        """The bytes to store of a picture that is not behind a URL."""
        return self.encoded if self.upload is None else self.upload

    @property
    def source(self) -> Source:
        if self.by_url:
            return Source(self.field, SourceKind.URL, self.text)
        return Source(self.field, SourceKind.BASE64 if self.upload is None else SourceKind.FILE)


def picture_fields(body: FluxControlNetBody) -> dict[str, str]:
    """The parameters whose pictures a request needs, and their values. The first one decides the
    size of the result: `image` if a control uses it."""
    if not body.controls:
        field = "control_image" if body.control_image else "image"
        return {field: body.control_image or body.image}
    own = [control.picture for control in body.controls]
    fields = {"image": body.image} if None in own else {}
    for index, picture in enumerate(own):
        if picture is not None:
            name, value = picture
            fields[f"controls[{index}].{name}"] = value
    return fields


def pictures_of(
    body: FluxControlNetBody, uploads: Mapping[str, bytes], inline: Mapping[str, bytes]
) -> tuple[SentPicture, ...]:
    """The pictures of a body, the one that decides the size first. uploads, inline: by field."""
    return tuple(
        SentPicture(field, text, uploads.get(field), inline.get(field))
        for field, text in picture_fields(body).items()
    )


def check_picture(services: Services, picture: SentPicture) -> None:
    """Raises InvalidRequest for a URL that is too long and for a file that is too large, before the
    picture is stored."""
    most = services.settings.max_image_bytes
    if picture.by_url:
        if len(picture.text) > URL_MAX:
            raise InvalidRequest(f"{picture.field}: a URL has at most {URL_MAX} characters")
        return
    size = len(picture.data)
    if picture.upload is None:
        size = size * 3 // 4  # upper bound
        if size > most:
            size = decoded_size(picture.encoded)
    if size > most:
        raise InvalidRequest(f"{picture.field}: {size} bytes; at most {most} are allowed")


def first_stage(services: Services, pictures: tuple[SentPicture, ...]) -> Stage:
    """FETCH if a picture is on another server. PREPARE reads stored pictures itself."""
    elsewhere = any(
        picture.by_url
        and not services.links.own_output(picture.text)
        and not services.links.own_upload(picture.text)
        for picture in pictures
    )
    return Stage.FETCH if elsewhere else Stage.PREPARE


def store_pictures(
    services: Services,
    owner: str,
    request_id: str,
    pictures: tuple[SentPicture, ...],
    expires_at: float,
) -> None:
    """Stores the bytes that came with the request in blobs, so that the record stays small. Raises
    RateLimited, QuotaExceeded, RedisError and BlobsUnavailable."""
    sent = {index: of for index, of in enumerate(pictures) if not of.by_url}
    if not sent:
        return
    size = sum(len(picture.data) for picture in sent.values())
    with_controls = any(picture.field.startswith("controls") for picture in pictures)
    field = "controls" if with_controls else "image"
    services.sources.hold(owner, request_id, size, expires_at, field)
    try:
        for index, picture in sent.items():
            services.blobs.put(keys.source_blob(request_id, index), picture.data, expires_at)
    except (RedisError, BlobsUnavailable):
        drop_pictures(services, owner, request_id, len(pictures))
        raise


def drop_pictures(services: Services, owner: str, request_id: str, count: int) -> None:
    services.blobs.delete(*(keys.source_blob(request_id, index) for index in range(count)))
    services.sources.release(owner, request_id)
