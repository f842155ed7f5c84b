"""Tiny models, from their configurations only: one of each family, and two that have no biases.

Fixtures import torch when asked for, so that the tests of reports run where it is not installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from families import BIASLESS, DECODERS, ENCODERS, VOCABULARY

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from transformers import PretrainedConfig

    from bench.cell import Pooling
    from bench.models import TaskModel
    from bench.tasks.base import HeadKind

    TinyModel = Callable[..., TaskModel]


@pytest.fixture(scope="session")
def tiny_configs() -> dict[str, PretrainedConfig]:
    """Models with biases by the name of their family, a few thousand parameters each; treat them as read-only."""
    from transformers import AutoConfig

    return {name: AutoConfig.for_model(**fields) for name, fields in {**ENCODERS, **DECODERS}.items()}


@pytest.fixture(scope="session")
def biasless_configs() -> dict[str, PretrainedConfig]:
    """Models without biases by name; treat them as read-only."""
    from transformers import AutoConfig

    return {name: AutoConfig.for_model(**fields) for name, fields in BIASLESS.items()}


@pytest.fixture(scope="session")
def tiny_model(tiny_configs: dict[str, PretrainedConfig], biasless_configs: dict[str, PretrainedConfig]) -> TinyModel:
    """Builds the task model of an encoder's name; each call gives a new one with the same weights.

    Every tensor of the encoder is disturbed, so that no bias is 0 and no gain is 1.
    """
    import torch

    from bench.encoders import default_pooling
    from bench.models import build_model, config_encoder

    def build(name: str, kind: HeadKind = "classification", pooling: Pooling | None = None) -> TaskModel:
        config = {**tiny_configs, **biasless_configs}[name]
        pooling = pooling or default_pooling(config.model_type)
        encoder = config_encoder(config, kind, pooling)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
        return build_model(encoder, kind, 3, pooling, seed=2)

    return build


@pytest.fixture(scope="session")
def tiny_batch() -> dict[str, torch.Tensor]:
    """Six sequences of random tokens, the last two padded by three places; no token has a special id."""
    import torch

    ids = torch.randint(5, VOCABULARY, (6, 9), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    mask[4:, -3:] = 0
    return {"input_ids": ids, "attention_mask": mask}
