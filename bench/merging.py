"""Deltas merged into their base for good: a folder that any program reads as a plain encoder."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from bench import bases
from bench.bases import Base
from bench.errors import InputError, because
from bench.models import HEAD_PREFIX
from strategies import loading
from strategies.delta import DeltaInfo

HEAD = "head.safetensors"
HEAD_FORMAT = "bitfit-bench head 1"


def merge(path: Path, to: Path, *, model: str | None, cache_dir: Path, offline: bool = False) -> DeltaInfo:
    """Write the encoder of the delta at `path`, merged, into the new folder `to`; returns what the delta is.

    The folder holds config.json, model.safetensors and the tokenizer, and the head beside them in a file of its own.
    Raises InputError or StrategyError where there is such a folder already, where the delta and its base do not go
    together, and where it cannot be merged or written.
    """
    to = Path(os.path.abspath(to))  # noqa: PTH100  # "new/.." is the folder that "." is, and no new one
    _check_new(to)
    info, use = bases.read_info(path)
    base = Base(bases.find({path: use}, model), device=torch.device("cpu"), cache_dir=cache_dir, offline=offline)
    merged, _ = loading.merge(path, *base.task_model(use))
    head = {
        name.removeprefix(HEAD_PREFIX): tensor.contiguous()
        for name, tensor in merged.state_dict().items()
        if name.startswith(HEAD_PREFIX)
    }
    # Not longer than most names, so that any folder that can be is one that can be written.
    unfinished = to.with_name(f".merge-{os.getpid()}")
    try:
        unfinished.mkdir(parents=True)
        base.encoder.save_pretrained(unfinished)
        base.tokenizer("classification").save_pretrained(unfinished)
        save_file(head, unfinished / HEAD, {"format": HEAD_FORMAT, "delta": json.dumps(asdict(info))})
        unfinished.rename(to)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot write the folder {to}: {because(error)}") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return info


def _check_new(to: Path) -> None:
    """Raises InputError where `to` is there already or is no name for a folder."""
    try:
        there = to.exists()
    except OSError as error:
        raise InputError(f"cannot write the folder {to}: {because(error)}") from None
    if there:
        raise InputError(f"{to} exists already: name a folder that does not")
