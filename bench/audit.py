"""The audit of a cell: that a strategy trained what it declared, all of it, and nothing else.

Usage, around the training of one cell::

    auditor = Auditor(base, batch)              # before anything is applied
    auditor.after_apply(applied)
    ...                                         # train
    applied = applied.finished()
    auditor.after_finalize(applied)
    ...                                         # delta.save(path, ...)
    auditor.after_delta(applied, path, fresh_base, fingerprint)
    record.audit = auditor.result()

A check that did not run counts as failed. The auditor holds a copy of the encoder on the CPU and nothing else
of size, so `base` may itself be trained.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.results import Audit
from strategies import loading
from strategies.errors import StrategyError
from strategies.interface import Applied, Batch, Context, Expected

AFTER_APPLY = ("trainable names", "trainable counts", "head trains", "declared coordinates", "step-0 logits")
AFTER_FINALIZE = ("unchanged tensors",)
AFTER_DELTA = ("delta",)
# Equal tensors give equal logits up to the order of sums, which kernels choose by memory alignment.
ROUNDING = 1e-5

Checks = dict[str, str | None]


class AuditError(RuntimeError):
    """A strategy does not train what it declares."""


class Auditor:
    """Audits one cell.

    base   the task model before the strategy is applied
    batch  inputs on the model's device; a 'labels' entry is left out
    """

    def __init__(self, base: nn.Module, batch: Batch, head_prefix: str = Context.head_prefix) -> None:
        self._batch = {name: value for name, value in batch.items() if name != "labels"}
        self._head_prefix = head_prefix
        self._tensors = {name: tensor.detach().cpu().clone() for name, tensor in self._encoder(base)}
        self._logits = eval_logits(base, self._batch)
        self._checks: Checks = dict.fromkeys((*AFTER_APPLY, *AFTER_FINALIZE, *AFTER_DELTA), "this check did not run")

    def after_apply(self, applied: Applied) -> Checks:
        """Trainable names and counts, the declared coordinates, and the step-0 logits; before the first step."""
        prefix = self._head_prefix
        actual = trainable_counts(applied, prefix)
        frozen = [n for n, p in applied.model.named_parameters() if n.startswith(prefix) and not p.requires_grad]
        found = (
            _wrong_names(actual.keys(), applied.expected.trainable.keys()),
            _wrong_counts(actual, applied.expected),
            f"frozen: {_some(frozen)}" if frozen else None,
            _wrong_coordinates(applied.expected.changes, self._tensors),
            _moved(applied, self._logits, eval_logits(applied.model, self._batch)),
        )
        return self._note(AFTER_APPLY, found)

    def after_finalize(self, applied: Applied) -> Checks:
        """Every tensor of the base encoder, buffers too, is bit-identical outside the declared changes.

        `applied` is finished: its changes may be known only now, and must exist as those of the beginning.
        """
        wrong = _wrong_coordinates(applied.expected.changes, self._tensors)
        problems = [*([wrong] if wrong else []), *self._differences(applied)]
        return self._note(AFTER_FINALIZE, (_some(problems) or None,))

    def _differences(self, applied: Applied) -> Iterator[str]:
        """How tensors of the base encoder differ where they may not, conversions before training granted."""
        current = dict(self._encoder(applied.model))
        for name, before in self._tensors.items():
            granted = applied.converted[name](before) if name in applied.converted else before
            now = current.get(applied.moved.get(name, name))
            if problem := _difference(granted, now, name, applied.expected.changes):
                yield f"{name} {problem}"

    def after_delta(self, applied: Applied, path: Path, base: nn.Module, base_fingerprint: str) -> Checks:
        """The delta at `path`, loaded on `base`, an untouched encoder with any head, gives the trained model.

        It is taken off `base` again.
        """
        try:
            loaded = loading.load(path, base, base_fingerprint, self._head_prefix)
        except StrategyError as error:
            return self._note(AFTER_DELTA, (str(error),))
        problem = _other_model(applied.model, loaded.model, self._batch)
        loaded.remove()
        return self._note(AFTER_DELTA, (problem,))

    def result(self) -> Audit:
        """The outcome of every check."""
        return Audit(checks=dict(self._checks))

    def _note(self, names: Iterable[str], found: Iterable[str | None]) -> Checks:
        checks = dict(zip(names, found, strict=True))
        self._checks |= checks
        return checks

    def _encoder(self, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        """Every tensor of the encoder, buffers that are not part of the state included."""
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if not name.startswith(self._head_prefix):
                yield name, tensor


def eval_logits(model: nn.Module, batch: Batch) -> Tensor:
    """Logits in eval mode, without autocast, on the CPU; leaves every module in the mode it was in.

    Those of padding, which nobody reads, are zero.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            logits: Tensor = model(**batch)
    finally:
        for module, training in modes.items():
            module.training = training
    if logits.dim() == 3:
        logits = logits.masked_fill(batch["attention_mask"].unsqueeze(-1) == 0, 0.0)
    return logits.detach().cpu()


def wrong_selection(applied: Applied, head_prefix: str = Context.head_prefix) -> str | None:
    """What is wrong with the names and counts of what trains, by the strategy's own declaration; None: nothing."""
    actual = trainable_counts(applied, head_prefix)
    found = (_wrong_names(actual.keys(), applied.expected.trainable.keys()), _wrong_counts(actual, applied.expected))
    return "; ".join(filter(None, found)) or None


def trainable_counts(applied: Applied, head_prefix: str = Context.head_prefix) -> dict[str, int]:
    """Encoder leaf with `requires_grad` -> number of values that train; of a leaf trained in part, those declared."""
    counts = {}
    for name, parameter in applied.model.named_parameters():
        if parameter.requires_grad and not name.startswith(head_prefix):
            indices = applied.expected.changes.get(name)
            counts[name] = parameter.numel() if indices is None else indices.numel()
    return counts


def _wrong_names(actual: Iterable[str], expected: Iterable[str]) -> str | None:
    extra, missing = sorted(set(actual) - set(expected)), sorted(set(expected) - set(actual))
    parts = [f"trains and should not: {_some(extra)}"] if extra else []
    parts += [f"should train and does not: {_some(missing)}"] if missing else []
    return "; ".join(parts) or None


def _wrong_counts(actual: Mapping[str, int], expected: Expected) -> str | None:
    wrong = [
        f"{name} trains {actual[name]} values, not {count}"
        for name, count in expected.trainable.items()
        if name in actual and actual[name] != count
    ]
    total, wanted = sum(actual.values()), expected.count if expected.budget is None else expected.budget
    if total != wanted:
        wrong.append(f"{total} values train in all, not {wanted}")
    return _some(wrong) if wrong else None


def _wrong_coordinates(changes: Mapping[str, Tensor | None], tensors: Mapping[str, Tensor]) -> str | None:
    """Changes must be declared of tensors the base has, at coordinates that exist, each once."""
    problems = []
    for name, indices in changes.items():
        if name not in tensors:
            problems.append(f"{name} is no tensor of the base encoder")
        elif indices is not None:
            repeated = indices.numel() - len(set(indices.tolist()))
            if repeated:
                problems.append(f"{name} names {repeated} coordinates more than once")
            if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < tensors[name].numel():
                problems.append(f"{name} names coordinates outside its {tensors[name].numel()} values")
    return _some(problems) if problems else None


def _moved(applied: Applied, before: Tensor, after: Tensor) -> str | None:
    """Whether step-0 logits relate to the base's as the strategy declares."""
    if before.shape != after.shape:
        return f"logits are shaped {tuple(after.shape)}, not {tuple(before.shape)}"
    distance = float((after - before).abs().max())
    bound = {"exact": 0.0, "near": applied.start_bound, "changed": float("inf")}[applied.start]
    return None if distance <= bound else f"moved by {distance:.3g}; declared {applied.start} (at most {bound:.3g})"


def _difference(before: Tensor, after: Tensor | None, name: str, changes: Mapping[str, Tensor | None]) -> str | None:
    """How a base tensor differs where it may not."""
    if after is None:
        return "is gone"
    after = after.detach().cpu()
    if (after.shape, after.dtype) != (before.shape, before.dtype):
        return f"is {after.dtype} {tuple(after.shape)}, was {before.dtype} {tuple(before.shape)}"
    indices = changes.get(name, torch.empty(0, dtype=torch.int64))
    if indices is None:
        return None
    allowed = before.flatten()
    inside = indices[(indices >= 0) & (indices < before.numel())]
    if inside.numel():
        allowed = allowed.clone()
        allowed[inside] = after.flatten()[inside]
    places = _different_places(allowed, after)
    return f"changed in {places} of {before.numel()} values that may not change" if places else None


def _different_places(one: Tensor, other: Tensor) -> int:
    """How many values differ in their bits."""
    width = one.element_size()
    bits = [t.contiguous().flatten().view(torch.uint8).view(-1, width) for t in (one, other)]
    return 0 if torch.equal(*bits) else int((bits[0] != bits[1]).any(1).sum())


def _other_model(trained: nn.Module, loaded: nn.Module, batch: Batch) -> str | None:
    """How a model loaded from a delta differs from the trained one, in logits and in any tensor's bits."""
    ours, theirs = eval_logits(trained, batch), eval_logits(loaded, batch)
    if ours.shape != theirs.shape:
        return f"the loaded model's logits are shaped {tuple(theirs.shape)}, not {tuple(ours.shape)}"
    distance, scale = float((ours - theirs).abs().max()), max(1.0, float(ours.abs().max()))
    if not distance <= ROUNDING * scale:
        return f"the loaded model's logits differ by {distance:.3g}"
    state, copy = trained.state_dict(), loaded.state_dict()
    differing = [
        name
        for name in sorted(state.keys() | copy.keys())
        if name not in state or name not in copy or _difference(state[name].cpu(), copy[name], name, {})
    ]
    return f"the loaded model differs in {_some(differing)}" if differing else None


def _some(items: list[str]) -> str:
    """The first three items, and how many more there are; empty where there are none."""
    rest = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return ", ".join(items[:3]) + rest
