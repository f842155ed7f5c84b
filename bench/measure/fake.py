"""A training step that has shapes and no values: what it needs can be counted without weights, memory or time.

It is built on the meta device, where every strategy can be applied, and then carried over to fake tensors of the CPU,
for which torch chooses the kernels it would choose for real ones.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)

import strategies
from bench.budget import budget_of
from bench.cell import CostCell, Precision
from bench.configurations import attention_of, with_dropout
from bench.encoders import Encoder
from bench.errors import first_line
from bench.measure.subject import KIND, cost_config, cost_context, cost_shapes, cost_stepper, random_batch
from bench.training import Stepper

CPU = torch.device("cpu")
MASKED = frozenset({"deberta-v2"})
"""Architectures that mask attention even where nothing is padding."""


class NoShapesError(RuntimeError):
    """The step cannot be taken on shapes alone: what it does next depends on values."""


# What torch raises where an operation on fake tensors would have to look at values, or is not there for them.
ABOUT_VALUES = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
    NotImplementedError,
)
# How many values a sparse tensor holds is a value as well, and a plain RuntimeError of autograd where there are none.
OF_SPARSE_TENSORS = "SparseCooTensor"


# What CUDA's autocast takes to float32 and a CPU's leaves in bfloat16, as far as encoders use it.
IN_FLOAT32 = (
    (nn.functional, "layer_norm"),
    (nn.functional, "softmax"),
    (torch, "softmax"),
    (torch, "pow"),
    (Tensor, "softmax"),
    (Tensor, "pow"),
    (Tensor, "__pow__"),
)


@contextlib.contextmanager
def _as_on_an_accelerator(precision: Precision) -> Iterator[None]:
    """Dropout that keeps a byte for each value where a CPU's keeps a factor, and CUDA's rules of mixed precision.

    Functions are put in the place of torch's: a torch function mode would be off in the backward pass, where
    checkpoints compute again.
    """
    replaced: dict[tuple[Any, str], Callable[..., Any]] = {
        (torch, "dropout"): _masked_dropout,
        (nn.functional, "dropout"): _masked_dropout,
    }
    if precision == "bf16":
        replaced |= {(owner, name): _in_float32(getattr(owner, name)) for owner, name in IN_FLOAT32}
    usual = {(owner, name): getattr(owner, name) for owner, name in replaced}
    try:
        for (owner, name), function in replaced.items():
            setattr(owner, name, function)
        yield
    finally:
        for (owner, name), function in usual.items():
            setattr(owner, name, function)


def _in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of its first argument as float32 where that is of lower precision."""

    def wider(first: Any, *args: Any, **kwargs: Any) -> Any:
        low = isinstance(first, Tensor) and first.dtype in (torch.bfloat16, torch.float16)
        return function(first.float() if low else first, *args, **kwargs)

    return wider


def _masked_dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:  # noqa: A002, ARG001
    if p == 0 or not training:
        return input
    dropped: Tensor = torch.native_dropout(input, p, training)[0]
    return dropped


@contextlib.contextmanager
def fake_stepper(
    cell: CostCell, encoder: Encoder, *, accelerator: bool = False
) -> Iterator[tuple[Stepper, dict[str, Tensor]]]:
    """The stepper of a cost cell and its batch, both of fake tensors; inside the context steps can be taken.

    The tensors pretend to lie on the CPU, whose kernels keep for the backward pass what the like of theirs keep on an
    `accelerator`, but for dropout, which there keeps masks of bytes, and that of fused attention nothing, and for what
    mixed precision takes to float32 there.

    Raises NoShapesError, there or here, where a strategy looks at values, and StrategyError where it does not apply.
    Any other error of a step is its own.
    """
    config = cost_config(cell, encoder)
    if accelerator and attention_of(config) == "sdpa":
        config = with_dropout(config, None, 0.0)
    model = cost_shapes(cell, config)
    context = cost_context(cell, {}, budget_of(cell, model, KIND))
    applied = strategies.resolve(cell.strategy)(model, context)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    _carry_over(applied.model, mode)
    if config.model_type not in MASKED:
        # Nothing of the batch is padding: with values, transformers sees that and makes no mask of it.
        model.encoder.register_forward_pre_hook(_without_mask, with_kwargs=True)
    try:
        with mode, _as_on_an_accelerator(cell.precision) if accelerator else contextlib.nullcontext():
            yield cost_stepper(applied, cell, CPU), random_batch(cell, config.vocab_size, CPU)
    except (NotImplementedError, RuntimeError) as error:
        if not isinstance(error, ABOUT_VALUES) and OF_SPARSE_TENSORS not in str(error):
            raise
        raise NoShapesError(f"strategy {cell.strategy!r} needs more than shapes: {first_line(error)}") from error


def _without_mask(
    _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs | {"attention_mask": None}


def _carry_over(model: nn.Module, mode: FakeTensorMode) -> None:
    """Put fake tensors in the place of every parameter and buffer; what was shared stays shared."""
    fakes: dict[Tensor, Tensor] = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                fake = fakes.get(parameter)
                if fake is None:
                    made = _fake(parameter, mode)
                    fake = fakes[parameter] = nn.Parameter(made, requires_grad=parameter.requires_grad)
                module._parameters[name] = fake  # type: ignore[assignment]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = fakes.setdefault(buffer, _fake(buffer, mode))


def _fake(tensor: Tensor, mode: FakeTensorMode) -> Tensor:
    fake: Tensor = FakeTensor(mode, tensor.detach().to("meta"), CPU)
    return fake
