"""What identifies a model: its weights, or where it has none its configuration."""

import hashlib

import torch
from torch import nn
from transformers import PretrainedConfig


def fingerprint(encoder: nn.Module) -> str:
    """sha256 of every tensor of the encoder, names included: equal weights from any source have an equal one."""
    digest = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def config_fingerprint(config: PretrainedConfig) -> str:
    """sha256 of a configuration, for models without weights."""
    return hashlib.sha256(config.to_json_string(use_diff=True).encode()).hexdigest()
