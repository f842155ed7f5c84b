"""A base encoder for the deltas of many tasks: in memory once, whatever heads are put on it."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from bench import encoders, overrides
from bench.configurations import positions
from bench.encoders import Encoder
from bench.errors import InputError
from bench.fingerprints import fingerprint
from bench.models import TaskModel, as_loaded_for, build_model, load_encoder, load_tokenizer
from bench.tasks.base import HeadKind
from strategies import delta
from strategies.delta import DeltaInfo, Use, shown


def read_info(path: Path) -> tuple[DeltaInfo, Use]:
    """What a delta says about itself, and how its model is built.

    Raises StrategyError where the file is no delta, InputError where it does not say enough, or says what cannot be.
    """
    info = delta.info(path)
    if info.use is None:
        raise InputError(f"the delta {path} does not say which head it is for: it can be loaded, but not used alone")
    outputs = {"regression": 1, "span": 2}.get(info.use.kind, len(info.labels))
    if info.use.outputs != outputs or outputs < 1 or info.use.max_length < 1:
        raise InputError(f"the delta {path} is damaged: what it says of its labels and of its head does not agree")
    return info, info.use


def find(uses: Mapping[Path, Use], given: str | None) -> Encoder:
    """The one encoder that these deltas belong to, or the name or folder `given` in its place.

    Raises InputError where they name several, or one that only a folder can be.
    """
    if given is not None:
        names, folders = overrides.model_folders([given])
        return encoders.find((names or [given])[0], folders)
    named = {use.model: path for path, use in uses.items()}
    if len(named) > 1:
        several = ", ".join(f"{shown(name)} ({path})" for name, path in named.items())
        raise InputError(f"the deltas belong to several encoders: {several}; take those of one at a time")
    ((name, path),) = named.items()
    if name not in encoders.TABLE:
        raise InputError(f"the delta {path} belongs to an encoder in a folder called {name!r}: name it with --model")
    return encoders.find(name)


class Base:
    """An encoder with its weights in memory once. Raises InputError where it cannot be had.

    encoder  with its pooler, where it has a pretrained one
    """

    def __init__(self, known: Encoder, *, device: torch.device, cache_dir: Path, offline: bool) -> None:
        self._known, self._cache_dir, self._offline = known, cache_dir, offline
        self.encoder, tokenizer = load_encoder(known, "classification", "cls", cache_dir=cache_dir, offline=offline)
        nn.Module.to(self.encoder, device)
        self._tokenizers: dict[HeadKind, PreTrainedTokenizerBase] = {"classification": tokenizer}
        self._fingerprints: dict[bool, str] = {}

    def task_model(self, use: Use) -> tuple[TaskModel, str]:
        """A model with a new head on this encoder, and the fingerprint that deltas of such models give their base."""
        encoder = as_loaded_for(self.encoder, use.kind, use.pooling)
        whole = encoder is self.encoder
        if whole not in self._fingerprints:
            self._fingerprints[whole] = fingerprint(encoder)
        return build_model(encoder, use.kind, use.outputs, use.pooling, seed=0), self._fingerprints[whole]

    def tokenizer(self, kind: HeadKind) -> PreTrainedTokenizerBase:
        """The tokenizer for tasks of this kind."""
        if kind not in self._tokenizers:
            self._tokenizers[kind] = load_tokenizer(
                self._known, kind, cache_dir=self._cache_dir, offline=self._offline
            )
        return self._tokenizers[kind]

    def max_length(self, use: Use) -> int:
        """Tokens at which texts are cut: as in training, and no more than the encoder has positions for."""
        return min(use.max_length, positions(self.encoder.config) or use.max_length)
