"""Deltas: what the file holds, and one clear line where it does not fit."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import strategies
from applicable import APPLICABLE
from bench.models import TaskModel
from strategies import StrategyError, delta, loading
from strategies.interface import Applied, Context

TinyModel = Callable[..., TaskModel]

USE = delta.Use("tiny", "classification", "cls", outputs=3, max_length=128)
INFO = delta.DeltaInfo("bitfit", 7, "f00d" * 16, "weather", ("dry", "wet", "snow"), use=USE)


def apply(name: str, model: TaskModel, mask_seed: int = 7) -> Applied:
    for part in strategies.parse(name):
        if part.entry.extra:
            pytest.importorskip(part.entry.extra)
    ids = torch.arange(5, 25).view(4, 5)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    context = Context(
        np.random.default_rng(mask_seed), batches=lambda: iter([batch]), loss=lambda logits, _: logits.square().mean()
    )
    return strategies.resolve(name)(model, context)


def written(path: Path, tiny_model: TinyModel, name: str = "bitfit", family: str = "bert") -> delta.DeltaSize:
    """A delta of a model whose trainable values were all moved."""
    applied = apply(name, tiny_model(family))
    with torch.no_grad():
        for parameter in applied.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.5)
    return delta.save(path, applied.finished(), delta.DeltaInfo(**{**vars(INFO), "strategy": name}))


def tamper(path: Path, change: Callable[[dict[str, Tensor], dict[str, Any]], object]) -> None:
    """Rewrite the delta at `path` after `change(tensors, info fields)`."""
    info, _ = delta.read(path)
    content = load_file(path)
    fields = asdict(info)
    change(content, fields)
    save_file(content, path, {"format": delta.FORMAT, "delta": json.dumps(fields)})


def test_it_says_what_it_is(tmp_path: Path, tiny_model: TinyModel) -> None:
    written(tmp_path / "d", tiny_model)
    info, content = delta.read(tmp_path / "d")
    assert info == delta.info(tmp_path / "d") == INFO
    assert content.keys() == {
        *(f"encoder.{n}" for n, _ in tiny_model("bert").encoder.named_parameters() if n.endswith(".bias")),
        *(f"head.{n}" for n, _ in tiny_model("bert").head.named_parameters()),
    }


@pytest.mark.parametrize(
    ("name", "bytes_per_value"),
    [
        ("full", 4),
        ("bitfit", 4),
        ("bq_b2", 4),
        ("layernorm", 4),
        ("frozen", 4),
        ("random_uniform", 8),
        ("random_rowcol", 8),
        ("random_uniform_dense", 8),
        ("magnitude_subset", 8),
        ("gradient_subset", 8),
        ("adapter_houlsby", 4),
        ("adapter_pfeiffer", 4),
        ("lora", 4),
        ("ia3", 4),
        ("vera", 4),
        ("shira", 8),
        ("prompt", 4),
        ("prefix", 4),
    ],
)
def test_it_holds_what_changed_and_no_more(
    name: str, bytes_per_value: int, tmp_path: Path, tiny_model: TinyModel
) -> None:
    size = written(tmp_path / "d", tiny_model, name)
    model = tiny_model("bert")
    count = apply(name, model).expected.count
    assert size.encoder == bytes_per_value * count
    assert size.head == sum(parameter.nbytes for parameter in model.head.parameters())
    assert size.file == (tmp_path / "d").stat().st_size
    with safe_open(tmp_path / "d", framework="pt") as file:
        stored = sum(file.get_tensor(tensor).nbytes for tensor in file.keys())  # noqa: SIM118
    assert stored == size.encoder + size.head < size.file


def test_it_turns_a_fresh_base_with_any_head_into_the_trained_model(tmp_path: Path, tiny_model: TinyModel) -> None:
    written(tmp_path / "d", tiny_model)
    base = tiny_model("bert")
    torch.nn.init.normal_(base.head.get_parameter("out.weight"))
    loaded = loading.load(tmp_path / "d", base, INFO.base_fingerprint).model.state_dict()
    for name, tensor in tiny_model("bert").state_dict().items():
        moved = name.endswith(".bias") or name.startswith("head.")
        torch.testing.assert_close(loaded[name], tensor + 0.5 if moved else tensor, rtol=0, atol=0)


def same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two states hold the same names in the same order, and the same bits."""
    bits = [[tensor.contiguous().view(torch.uint8) for tensor in state.values()] for state in (one, other)]
    return list(one) == list(other) and all(map(torch.equal, *bits))


@pytest.mark.parametrize(("name", "family"), APPLICABLE)
def test_removing_it_restores_the_base_bit_by_bit(
    name: str, family: str, tmp_path: Path, tiny_model: TinyModel
) -> None:
    written(tmp_path / "d", tiny_model, name, family)
    base = tiny_model(family).requires_grad_(False)
    for parameter in base.parameters():
        parameter.view(-1)[::2] = -0.0  # which equals 0, and is another number to the bit
    before = {key: tensor.clone() for key, tensor in base.state_dict().items()}
    modules = dict(base.named_modules())
    prepared = loading.prepare(tmp_path / "d", base, INFO.base_fingerprint)
    assert same_bits(base.state_dict(), before)
    state = prepared.apply().state_dict()
    assert any(key not in before or not torch.equal(tensor, before[key]) for key, tensor in state.items())
    prepared.remove()
    assert same_bits(base.state_dict(), before)
    assert dict(base.named_modules()) == modules
    assert not any(parameter.requires_grad for parameter in base.parameters())


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("gradient_subset+prompt:2", "bert"),
        ("gradient_subset+add", "modernbert"),
        ("gradient_subset+prefix:2", "bert"),
    ],
)
def test_it_loads_where_there_are_no_training_batches(
    name: str, family: str, tmp_path: Path, tiny_model: TinyModel
) -> None:
    trained = apply(name, tiny_model(family))
    with torch.no_grad():
        for parameter in trained.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.5)
    trained = trained.finished()
    delta.save(tmp_path / "d", trained, delta.DeltaInfo(**{**vars(INFO), "strategy": name}))
    loaded = loading.load(tmp_path / "d", tiny_model(family), INFO.base_fingerprint).model.eval()
    batch = {"input_ids": torch.arange(5, 25).view(4, 5), "attention_mask": torch.ones(4, 5, dtype=torch.int64)}
    with torch.no_grad():
        assert torch.equal(loaded(**batch), trained.model.eval()(**batch))


QUERY = "encoder.encoder.layer.1.attention.self.query.bias"
NORM = "encoder.embeddings.LayerNorm.weight"
OUT = "head.out.bias"


def in_part(name: str) -> dict[str, Tensor]:
    """A change of the first value of a tensor."""
    return {f"{name}.values": torch.zeros(1), f"{name}.indices": torch.zeros(1, dtype=torch.int32)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content, _: content.pop("head.out.weight"), "it lacks head.out.weight"),
        (lambda content, _: content.update(extra=torch.zeros(1)), "it holds extra, which neither this encoder"),
        (lambda content, _: content.update({QUERY: torch.zeros(3)}), rf"{QUERY} is float32 \(3,\) there and"),
        (lambda content, _: content.update({QUERY: content[QUERY].half()}), rf"{QUERY} is float16 \(16,\) there and"),
        (lambda content, f: content.update(x=torch.zeros(1)) or f.update(strategy="bitfot"), "did you mean 'bitfit'"),
        (lambda _, fields: fields.update(surprise=1), "damaged delta"),
        (lambda _, fields: fields.pop("task"), "damaged delta"),
        (lambda _, fields: fields.update(labels=[1, 2]), "damaged delta"),
        (lambda _, fields: fields["use"].update(kind="poetry"), "damaged delta"),
        (lambda _, fields: fields["use"].update(surprise=1), "damaged delta"),
        (lambda _, fields: fields.update(base_fingerprint="beef"), "another encoder: it was trained on beef, this"),
        (lambda _, fields: fields.update(base_fingerprint="be\n\x1b[2J"), r"trained on 'be\\n\\x1b\[2J', this"),
        (lambda content, _: content.update({"a\nb": torch.zeros(1)}), r"it holds 'a\\nb', which neither"),
        (lambda content, _: content.pop(QUERY), f"it lacks {QUERY}"),
        (lambda content, _: [content.pop(name) for name in list(content) if name[0] == "e"], "it lacks encoder"),
        (lambda content, _: content.update({NORM: torch.zeros(16)}), f"it holds {NORM}, which this strategy leaves"),
        (lambda content, _: content.update(in_part(QUERY)), f"it holds {QUERY} both as a whole and in part"),
        (lambda content, _: content.update(in_part(QUERY)) or content.pop(QUERY), "in part, not as a whole"),
        (lambda content, _: content.update(in_part(OUT)) or content.pop(OUT), f"it holds {OUT} in part, not as"),
        (lambda _, fields: fields.update(mask_seed=-1), "damaged delta: .*mask_seed"),
        (lambda _, fields: fields.update(budget=0), "damaged delta: .*budget"),
        (lambda _, fields: fields["use"].update(max_length=10**30), "damaged delta: .*use.max_length"),
    ],
)
def test_a_delta_that_does_not_fit_is_refused(
    change: Callable[[dict[str, Tensor], dict[str, Any]], object], message: str, tmp_path: Path, tiny_model: TinyModel
) -> None:
    written(tmp_path / "d", tiny_model)
    tamper(tmp_path / "d", change)
    with pytest.raises(StrategyError, match=message) as error:
        loading.load(tmp_path / "d", tiny_model("bert"), INFO.base_fingerprint)
    assert "\n" not in str(error.value)


WEIGHT = "encoder.encoder.layer.0.output.dense.weight.indices"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda i: i.flip(0),
        lambda i: i + 1024,
        lambda i: i - 1024,
        lambda i: i[:1].expand(i.numel()).clone(),
        lambda i: i[0].clone(),
        lambda i: i.view(1, -1),
        lambda i: i.view(-1, 1),
        lambda i: torch.arange(6, dtype=torch.int32).view(2, 3),
        lambda i: i.to(torch.complex64),
        lambda i: i.to(torch.float32),
        lambda i: torch.tensor([False, True]),
        lambda i: torch.arange(6, dtype=torch.uint8),
    ],
)
def test_coordinates_that_cannot_be_are_refused(
    wrong: Callable[[Tensor], Tensor], tmp_path: Path, tiny_model: TinyModel
) -> None:
    written(tmp_path / "d", tiny_model, "random_uniform")
    tamper(tmp_path / "d", lambda content, _: content.update({WEIGHT: wrong(content[WEIGHT])}))
    base = tiny_model("bert")
    with pytest.raises(StrategyError, match="has coordinates that are not those of 1024 values"):
        loading.load(tmp_path / "d", base, INFO.base_fingerprint)
    fresh = tiny_model("bert").state_dict()
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in base.state_dict().items())


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("lora:2", {"strategy": "lora:999999999"}, "a rank of 999999999 trains"),
        ("lora:2", {"strategy": "lora", "budget": 10**15}, "a rank of .* trains"),
        ("adapter_pfeiffer:2", {"strategy": "adapter_pfeiffer:999999999"}, "a bottleneck of 999999999 trains"),
        ("vera:2", {"strategy": "vera:999999999"}, "a rank of 999999999 trains"),
    ],
)
def test_a_size_that_the_file_does_not_hold_is_refused_before_anything_is_allocated(
    name: str, fields: dict[str, Any], said: str, tmp_path: Path, tiny_model: TinyModel
) -> None:
    written(tmp_path / "d", tiny_model, name)
    tamper(tmp_path / "d", lambda _, found: found.update(fields))
    base = tiny_model("bert")
    modules = dict(base.named_modules())
    with pytest.raises(StrategyError, match=said) as error:
        loading.load(tmp_path / "d", base, INFO.base_fingerprint)
    assert str(tmp_path / "d") in str(error.value)
    assert dict(base.named_modules()) == modules


def test_foreign_files_are_refused(tmp_path: Path, tiny_model: TinyModel) -> None:
    (tmp_path / "text").write_text("not a delta")
    save_file({"weight": torch.zeros(2)}, tmp_path / "weights")
    save_file({"weight": torch.zeros(2)}, tmp_path / "newer", {"format": "bitfit-bench delta 3"})
    messages = {
        "text": "not a readable safetensors file",
        "absent": "not a readable safetensors file",
        "weights": "format None",
        "newer": "format 'bitfit-bench delta 3'",
    }
    for name, message in messages.items():
        with pytest.raises(StrategyError, match=message) as error:
            loading.load(tmp_path / name, tiny_model("bert"), "f00d")
        assert "\n" not in str(error.value)


def test_an_unwritable_place_is_one_clear_line(tmp_path: Path, tiny_model: TinyModel) -> None:
    with pytest.raises(StrategyError, match="cannot write the delta"):
        written(tmp_path / "no" / "such" / "folder" / "d", tiny_model)


def test_a_strategy_applied_behind_the_tables_back_cannot_be_saved(tmp_path: Path, tiny_model: TinyModel) -> None:
    from strategies import bitfit

    applied = bitfit.apply(tiny_model("bert"), Context(np.random.default_rng(0)))
    with pytest.raises(ValueError, match=r"strategies\.resolve"):
        delta.save(tmp_path / "d", applied, INFO)


def test_a_folder_is_not_taken_for_a_delta(tmp_path: Path) -> None:
    with pytest.raises(StrategyError, match=r"is a folder; name the delta in it, a file such as \S+x\.safetensors$"):
        delta.read(tmp_path)
