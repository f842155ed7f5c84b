"""Encoders with a task head on top: build them from weights or from a configuration alone.

Every model is a `TaskModel`: parameters named `encoder.*` and `head.*`. The head is newly initialised and
trains under every strategy; all else, a pretrained pooler included, is the encoder.
"""

import copy
import functools
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from bench import archives
from bench.cell import Pooling
from bench.configurations import HIDDEN_DROPOUT, architecture, attention_of, with_dropout
from bench.encoders import DECODERS, Encoder
from bench.errors import InputError, first_line
from bench.tasks.base import HeadKind

HEAD_PREFIX = "head."
INITIALIZER_STD = 0.02
# Kinds whose head reads every token, and so no pooled output.
TOKEN_KINDS: frozenset[HeadKind] = frozenset({"tagging", "span"})
# Architectures whose pooler was trained in pretraining; elsewhere a pooler would be new, so the head has its own.
PRETRAINED_POOLER = frozenset({"bert", "albert"})
# What transformers raises for sizes that do not go together, and for those that are no numbers.
UNBUILDABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    StrictDataclassError,
)


class Head(nn.Module):
    """Hidden states to logits.

    `reduce` is 'pooler' (the encoder's own pooled output), 'first' (first token through a new dense layer
    with tanh), 'mean' (masked mean of the last layer), 'last' (last real token) or 'none' (every token).
    Logits are shaped (batch, outputs), or (batch, length, outputs) for 'none'.
    """

    def __init__(self, reduce: str, hidden: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.reduce = reduce
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(hidden, hidden) if reduce == "first" else None
        self.out = nn.Linear(hidden, outputs)

    def read(self, hidden: Tensor, pooled: Tensor | None, attention_mask: Tensor) -> Tensor:
        """What the head looks at: (batch, width), or (batch, length, width) where it reads every token.

        `hidden` (batch, length, width), `pooled` (batch, width) or None, `attention_mask` (batch, length). Nothing
        here trains or is random.
        """
        if self.reduce == "pooler":
            if pooled is None:
                raise RuntimeError("this head reads a pooled output and the encoder gave none")
            return pooled
        if self.reduce == "mean":
            mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
            return (hidden * mask).sum(1) / mask.sum(1)
        if self.reduce == "last":
            return hidden[torch.arange(len(hidden), device=hidden.device), _last_real(attention_mask)]
        return hidden if self.dense is None else hidden[:, 0]

    def forward(self, features: Tensor) -> Tensor:
        """What `read` returns to logits."""
        if self.dense is not None:
            features = torch.tanh(self.dense(self.dropout(features)))
        logits: Tensor = self.out(self.dropout(features))
        return logits


def _last_real(attention_mask: Tensor) -> Tensor:
    """Position of the last real token of each row, (batch,), whichever side the padding is on."""
    positions = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    return (attention_mask * positions).argmax(1)


class TaskModel(nn.Module):
    """An encoder with a head."""

    def __init__(self, encoder: PreTrainedModel, head: Head) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        known = inspect.signature(type(encoder).forward).parameters
        decoder = encoder.config.model_type in DECODERS
        # GPT-2 takes segment ids and embeds them as words; only a model with segments of its own should get any.
        self._segmented = "token_type_ids" in known and getattr(encoder.config, "type_vocab_size", 0) > 1
        self._positioned = decoder and "position_ids" in known
        # Nothing is generated, and a cache of keys and values would only hold memory.
        self._options = {"use_cache": False} if decoder and "use_cache" in known else {}

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Token ids, mask and segment ids, each (batch, length), to logits; segments may be ignored."""
        logits: Tensor = self.head(self.features(input_ids, attention_mask, token_type_ids))
        return logits

    def features(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """What the encoder gives the head to read."""
        inputs: dict[str, Any] = {"input_ids": input_ids, "attention_mask": attention_mask, **self._options}
        if self._segmented and token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        if self._positioned:
            # Counted over real tokens, so that it does not matter which side the padding is on.
            inputs["position_ids"] = (attention_mask.cumsum(1) - 1).clamp(min=0)
        output = self.encoder(**inputs)
        return self.head.read(output.last_hidden_state, getattr(output, "pooler_output", None), attention_mask)


def build_model(encoder: PreTrainedModel, kind: HeadKind, outputs: int, pooling: Pooling, seed: int) -> TaskModel:
    """Put a new head on `encoder` (not copied). The head's weights depend on `seed` and nothing else.

    Raises InputError where the head would read the first token of a decoder.
    """
    config = encoder.config
    dropout = next((getattr(config, name) for name in HIDDEN_DROPOUT if hasattr(config, name)), 0.0)
    device = next(encoder.parameters()).device
    head = Head(_reduction(encoder, kind, pooling), config.hidden_size, outputs, dropout).to(device)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            fresh = torch.zeros(parameter.shape)
            if name.endswith("weight"):
                fresh.normal_(0.0, INITIALIZER_STD, generator=generator)
            parameter.copy_(fresh)
    return TaskModel(encoder, head)


def _reduction(encoder: PreTrainedModel, kind: HeadKind, pooling: Pooling) -> str:
    """What the head does with the hidden states, as `Head` calls it."""
    if kind == "span" and encoder.config.model_type in DECODERS:
        raise InputError(
            f"where a window holds no answer its first token is pointed to, which in a {encoder.config.model_type} "
            "model sees no other; use an encoder that reads both ways"
        )
    if kind in TOKEN_KINDS:
        return "none"
    if pooling != "cls":
        return pooling
    if encoder.config.model_type in DECODERS:
        raise InputError(
            f"pooling 'cls' reads the first token, which in a {encoder.config.model_type} model sees no other; "
            "set pooling to 'last' or 'mean'"
        )
    return "first" if getattr(encoder, "pooler", None) is None else "pooler"


def config_encoder(config: PretrainedConfig, kind: HeadKind, pooling: Pooling) -> PreTrainedModel:
    """An encoder with random weights, the same ones each time; the caller's random state is left as it was.

    Raises InputError where the configuration contradicts itself, so that no model can be made of it.
    """
    attention, pooler = attention_of(config), _pooler_argument(config, kind, pooling)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        try:
            encoder: PreTrainedModel = AutoModel.from_config(  # type: ignore[no-untyped-call]
                config, attn_implementation=attention, **pooler
            )
        except UNBUILDABLE as error:
            raise _unbuildable(config, error) from None
    return encoder


def _unbuildable(config: PretrainedConfig, error: Exception) -> InputError:
    return InputError(f"no {config.model_type} model can be built from its configuration: {first_line(error)}")


def shape_only(config: PretrainedConfig, kind: HeadKind, outputs: int, pooling: Pooling) -> TaskModel:
    """A model of these shapes on the meta device, where it holds no memory. Raises InputError as `config_encoder`."""
    with torch.device("meta"):
        try:
            encoder = config_encoder(config, kind, pooling)
        except RuntimeError as error:
            # Elsewhere this may be a lack of memory; here it is a size that no tensor has.
            raise _unbuildable(config, error) from None
        return build_model(encoder, kind, outputs, pooling, seed=0)


def load_encoder(
    encoder: Encoder,
    kind: HeadKind,
    pooling: Pooling,
    *,
    cache_dir: Path,
    offline: bool = False,
    hidden_dropout: float | None = None,
    attention_dropout: float | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """An encoder with its pretrained weights in float32, and its tokenizer.

    Raises InputError where the weights cannot be had.
    """
    where, options = _whereabouts(encoder, cache_dir, offline)
    try:
        config = AutoConfig.from_pretrained(where, trust_remote_code=False, **options)
        config = with_dropout(config, hidden_dropout, attention_dropout)
        load = {"config": config, "use_safetensors": True, "dtype": torch.float32, "trust_remote_code": False}
        load |= {"attn_implementation": attention_of(config), "output_loading_info": True, **options}
        model, info = AutoModel.from_pretrained(where, **load, **_pooler_argument(config, kind, pooling))
        missing = set(info["missing_keys"])
        if missing and all("pooler" in name.split(".") for name in missing):
            model, info = AutoModel.from_pretrained(where, **load, add_pooling_layer=False)
            missing = set(info["missing_keys"])
        tokenizer = _load_tokenizer(where, options, kind)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = next(iter(str(error).strip().splitlines()), "no reason given")
        raise InputError(
            f"cannot load the encoder {encoder.name!r} from {where}: {type(error).__name__}: {reason}"
        ) from None
    if missing:
        raise InputError(f"{where} lacks {len(missing)} encoder tensors, {sorted(missing)[0]!r} among them")
    return model, tokenizer


def load_tokenizer(
    encoder: Encoder, kind: HeadKind, *, cache_dir: Path, offline: bool = False
) -> PreTrainedTokenizerBase:
    """The tokenizer that `load_encoder` gives beside an encoder that it loads."""
    return _load_tokenizer(*_whereabouts(encoder, cache_dir, offline), kind)


def _load_tokenizer(where: str, options: Mapping[str, Any], kind: HeadKind) -> PreTrainedTokenizerBase:
    """The encoder's tokenizer, which for tagging keeps words apart that come already split."""
    load = functools.partial(transformers.AutoTokenizer.from_pretrained, where, trust_remote_code=False, **options)
    tokenizer: PreTrainedTokenizerBase = load()
    # Byte-level tokenizers know a new word by the space before it, which split words have lost.
    if kind == "tagging" and getattr(tokenizer, "add_prefix_space", None) is False:
        tokenizer = load(add_prefix_space=True)
    return tokenizer


def _whereabouts(encoder: Encoder, cache_dir: Path, offline: bool) -> tuple[str, dict[str, Any]]:
    """Folder or hub id of an encoder's weights, and the loading options that go with it."""
    if encoder.folder is not None:
        if not (encoder.folder / "config.json").is_file():
            raise InputError(f"{encoder.folder} holds no encoder: it has no config.json")
        return str(encoder.folder), {"local_files_only": True}
    if encoder.embedded:
        return str(archives.model_folder(cache_dir, offline=offline)), {"local_files_only": True}
    if encoder.hub is None:
        raise InputError(f"the encoder {encoder.name!r} is a configuration without weights: use it in cost cells only")
    identifier, revision = encoder.hub
    return identifier, {"revision": revision, "local_files_only": offline}


def as_loaded_for(encoder: PreTrainedModel, kind: HeadKind, pooling: Pooling) -> PreTrainedModel:
    """`encoder` as `load_encoder` gives it for this head: without its pooler where that would not be loaded.

    What is returned shares every other module, and every tensor, with `encoder`.
    """
    if _pooler_argument(encoder.config, kind, pooling).get("add_pooling_layer", True):
        return encoder
    view = copy.copy(encoder)
    view._modules = {**encoder._modules, "pooler": None}
    return view


def _pooler_argument(config: PretrainedConfig, kind: HeadKind, pooling: Pooling) -> dict[str, bool]:
    """`add_pooling_layer` where the architecture knows it: a pooler only where the head reads a pretrained one."""
    if "add_pooling_layer" not in inspect.signature(architecture(config)).parameters:
        return {}
    wanted = kind not in TOKEN_KINDS and pooling == "cls" and config.model_type in PRETRAINED_POOLER
    return {"add_pooling_layer": wanted}
