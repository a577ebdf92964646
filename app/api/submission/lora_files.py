"""The LoRA files that a body names: found in the server's folder, with their SHA-256 sums.

What a file holds is not judged here: the gpu worker applies it, or fails the request.
"""

from __future__ import annotations

import json
from dataclasses import replace

from app.api.deps import Services
from app.api.wire.loras import LoraBody
from app.core.errors import InvalidRequest
from models.errors import UnknownLora
from models.spec import Lora


def loras_of(services: Services, bodies: tuple[LoraBody, ...]) -> tuple[Lora, ...]:
    """As they are stored. Reads a new file completely. Raises InvalidRequest for an unknown name,
    for a file that cannot be read, and for any name if the server has no LoRAs."""
    if not bodies:
        return ()
    folder = services.loras
    if folder is None:
        raise InvalidRequest("loras: is not allowed; this server has no LoRAs (LORAS_DIR)")
    loras, faults = [], []
    for index, body in enumerate(bodies):
        try:
            file = folder.find(body.name)
        except UnknownLora as error:
            shown = json.dumps(body.name[:60])
            nearest = ", ".join(error.nearest)
            allowed = f"the nearest names are {nearest}" if nearest else "there is no LoRA file"
            faults.append(f"loras[{index}].name: {shown} is not allowed; {allowed}")
        else:
            if not file.sha256:
                faults.append(f"loras[{index}].name: {file.name}.safetensors {file.error}")
            loras.append(replace(body.parameters(), sha256=file.sha256))
    if faults:
        raise InvalidRequest("; ".join(faults))
    return tuple(loras)
