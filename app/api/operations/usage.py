"""The endpoint that reports usage, for admin keys. The same as `python -m app.cli usage`."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.deps import UsageDep
from app.api.operations.admin import ADMIN, admin
from app.api.wire.openapi import Responses
from app.api.wire.responses import UsageReport
from app.core.accounts.usage import GROUPS, Window, parse_groups, to_csv
from app.core.errors import InvalidRequest

_REPORT: Responses = {
    200: {
        "description": "The sums of each group",
        "content": {"text/csv": {"schema": {"type": "string"}}},
    },
    **ADMIN,
}

router = APIRouter(tags=["admin"], dependencies=[Depends(admin)])


class UsageQuery(BaseModel):
    """Days are in UTC."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    first: date | None = Field(
        None, alias="from", description="First day. Default: that of the month of `to`."
    )
    last: date | None = Field(None, alias="to", description="Last day. Default: today.")
    group_by: list[str] = Field(
        list(GROUPS), description="owner, key, day: separated by commas, or repeated."
    )
    format: Literal["json", "csv"] = "json"


@router.get("/admin/usage", responses=_REPORT, response_model=UsageReport)
def usage(sums: UsageDep, selection: Annotated[UsageQuery, Query()]) -> UsageReport | Response:
    """What the requests that ended on these days used, by owner, key and day."""
    try:
        window = Window.of(selection.first, selection.last)
        groups = parse_groups(selection.group_by)
    except ValueError as error:
        raise InvalidRequest(str(error)) from None
    rows = sums.rows(window, groups)
    if selection.format == "csv":
        return Response(to_csv(rows, groups), media_type="text/csv")
    return {"usage": rows}
