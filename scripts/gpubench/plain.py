"""Our loop's denoiser for a ControlNet that has no modes, as Union-Pro-2.0 is one."""

from __future__ import annotations

from PIL import Image
from torch import Tensor

from models.autoencoder import LATENT_SCALE
from models.checkpoints import LoadedCheckpoint
from models.denoiser import ControlledDenoiser, image_ids
from models.flux.networks import ControlNet, TextConditioning, Transformer, _Conditioned
from models.spec import GenerationSpec


class PlainControlNet(ControlNet):
    """(tokens, sigma) -> Residuals without a mode token before the text."""

    def __init__(
        self,
        network: object,
        text: TextConditioning,
        image_ids: Tensor,
        guidance: float,
        latents: Tensor,
        strength: float,
    ) -> None:
        _Conditioned.__init__(self, network, text, image_ids, guidance)
        self._control = self._network.controlnet_x_embedder(latents)
        self._strength = strength


def prepare_plain(
    loaded: LoadedCheckpoint, spec: GenerationSpec, control_map: Image.Image
) -> ControlledDenoiser:
    """models.pipeline.prepare_denoiser, with a PlainControlNet."""
    pair = loaded.networks.of(spec.profile)
    text = loaded.text.encode(spec.prompt)
    size = spec.height // LATENT_SCALE, spec.width // LATENT_SCALE
    ids = image_ids(*size, loaded.device, loaded.dtype)
    controlnet = None
    if spec.strength > 0:
        latents = loaded.autoencoder.encode(control_map)
        controlnet = PlainControlNet(
            pair.controlnet, text, ids, spec.guidance, latents, spec.strength
        )
    transformer = Transformer(pair.transformer, text, ids, spec.guidance)
    return ControlledDenoiser(transformer, controlnet, spec.stop, spec.mu)
