"""The list of models and LoRAs, in the shape that the hosted service's client documents."""

from __future__ import annotations

import logging

from fastapi import APIRouter, Depends

from app.api.auth import authenticate
from app.api.deps import ServicesDep
from app.api.wire.history import Models, models_list
from app.api.wire.openapi import KEYED
from models.loras.lora_file import LoraFile
from models.loras.lora_folder import LoraFolder

log = logging.getLogger(__name__)

router = APIRouter(tags=["history"])


@router.get(
    "/inference-model-information/list", responses=KEYED, dependencies=[Depends(authenticate)]
)
def models(services: ServicesDep) -> Models:
    """The models and the LoRAs of this server. Reads new LoRA files, so it may take seconds."""
    return models_list(_lora_files(services.loras))


def _lora_files(folder: LoraFolder | None) -> tuple[LoraFile, ...]:
    try:
        return folder.files() if folder is not None else ()
    except OSError as error:
        log.error("LORAS_DIR cannot be read: %s", error)
        return ()
