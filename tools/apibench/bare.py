"""The baseline of a poll: a minimal FastAPI endpoint that reads Redis, with our uvicorn settings.

Usage: python -m tools.apibench.bare --port P
"""

from __future__ import annotations

import argparse
from typing import cast

import redis.asyncio as async_redis
from fastapi import FastAPI

from app.api.http.drain import Drain
from app.api.http.server import serve
from app.core.settings import load_settings


def create_bare(redis_url: str) -> FastAPI:
    """GET /NAME answers with the hash of that name."""
    app = FastAPI(openapi_url=None)
    redis = async_redis.Redis.from_url(redis_url, decode_responses=True)

    @app.get("/{name}")
    async def read(name: str) -> dict[str, str]:
        return cast(dict[str, str], await redis.hgetall(name))

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    settings = load_settings()
    app, port = create_bare(settings.redis_url), parser.parse_args().port
    serve(app, settings, "127.0.0.1", port, Drain())
