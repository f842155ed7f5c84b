"""The one training loop: every strategy and every task goes through it, and cost cells time its step."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import get_linear_schedule_with_warmup

from bench.device import device_of
from bench.scoring import task_loss
from bench.tasks.base import HeadKind
from strategies.interface import Applied, Batch

SEED_STRIDE = 1_000_003
FINITE_CHECK_STEPS = 25
# The phases of a step in their order; a step tells when each begins, and at last of its END.
PHASES = ("forward", "backward", "clipping", "optimizer")
END = "end"


class DivergedError(ArithmeticError):
    """The training loss stopped being a finite number."""


class TimedOutError(TimeoutError):
    """A cell used up the time it was given."""


Autocast = Callable[[], AbstractContextManager[Any]]


def autocast_for(precision: str, device: torch.device) -> Autocast:
    """The context a forward pass runs in: bfloat16 autocast for 'bf16', else nothing."""
    if precision == "bf16":
        return lambda: torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext


def no_mark(phase: str) -> None:
    """Take no note of a phase."""


@dataclass(frozen=True)
class Stepper:
    """Takes one optimizer step on one batch: forward, backward, clipping, optimizer, zero-grad.

    `mark` is called with the name of each of PHASES as it begins, and with END when the step is over. Clipping is
    told of where nothing is clipped too; the penalty and the `before_step` hook of a strategy belong to backward,
    zero-grad to the optimizer.
    """

    applied: Applied
    kind: HeadKind
    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    clip_norm: float | None
    autocast: Autocast
    seed: int
    mark: Callable[[str], None] = field(default=no_mark)

    def __call__(self, batch: Batch, step: int) -> Tensor:
        """Train on `batch`; returns the detached loss, still on the device.

        Reseeds from (seed, step), so that strategies which insert no randomness see the same dropout.
        """
        self.mark("forward")
        reseed(self.seed * SEED_STRIDE + step, self.parameters[0].device)
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        with self.autocast():
            logits = self.applied.model(**inputs)
        loss = task_loss(logits, batch["labels"], self.kind)
        self.mark("backward")
        torch.autograd.backward(loss + self.applied.penalty().to(loss.device))
        self.applied.before_step(step)
        self.mark("clipping")
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        self.mark("optimizer")
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.mark(END)
        return loss.detach()


def reseed(seed: int, device: torch.device) -> None:
    """Seed the generators that a step on `device` draws from, as torch.manual_seed does.

    That function also prepares every other kind of device and takes down where it was called from, at every call,
    which in a small step outweighs all else of the loop; see benchmarks/test_loop.py.
    """
    torch.default_generator.manual_seed(seed)
    device_of(device).seed(seed)


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """What trains is what has `requires_grad`."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def make_stepper(
    applied: Applied,
    kind: HeadKind,
    *,
    learning_rate: float,
    total_steps: int,
    warmup_fraction: float = 0.0,
    weight_decay: float = 0.0,
    clip_norm: float | None,
    autocast: Autocast,
    seed: int,
) -> Stepper:
    """AdamW in its fused form for every strategy, with a linear schedule.

    Raises RuntimeError on a device for which torch has no fused AdamW: the plain loop would make full
    fine-tuning look slower than it is.
    """
    parameters = trainable(applied.model)
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)
    # The first step of a warm-up has rate 0, so a training of one step has none.
    warmup_steps = min(math.ceil(warmup_fraction * total_steps), total_steps - 1)
    schedule = get_linear_schedule_with_warmup(optimizer, warmup_steps, total_steps)  # type: ignore[no-untyped-call]
    return Stepper(applied, kind, parameters, optimizer, schedule, clip_norm, autocast, seed)


@dataclass(frozen=True)
class Trained:
    """What the loop leaves.

    losses         training loss of every step taken
    seconds        spent in steps and their batches
    padding_ratio  tokens with padding over tokens without
    """

    losses: Tensor
    seconds: float
    padding_ratio: float


def train(
    stepper: Stepper,
    batches: Iterator[Batch],
    total_steps: int,
    points: frozenset[int],
    at_point: Callable[[int], bool],
    on_step: Callable[[int, float | None], None],
    deadline: float | None = None,
) -> Trained:
    """Train for `total_steps` steps, or until `at_point` says that it is enough.

    `at_point(step)` is called after each step of `points`, its time not counted; True ends the training.
    `on_step(step, loss)` is called after every step, with the loss where it was read from the device anyway.
    `deadline` is a value of time.monotonic(). Raises DivergedError where a loss is not finite, TimedOutError
    past the deadline.
    """
    model = stepper.applied.model
    device = next(model.parameters()).device
    losses = torch.zeros(total_steps, device=device)
    real_tokens, padded_tokens = torch.zeros((), dtype=torch.int64, device=device), 0
    seconds = 0.0
    model.train()
    for step in range(total_steps):
        begin = time.perf_counter()
        batch = next(batches)
        real_tokens += batch["attention_mask"].sum()
        padded_tokens += batch["attention_mask"].numel()
        losses[step] = stepper(batch, step)
        done = step + 1
        value = None
        if done % FINITE_CHECK_STEPS == 0 or done in points or done == total_steps:
            value = _finite(losses[step - step % FINITE_CHECK_STEPS : done], done)
        seconds += time.perf_counter() - begin
        on_step(done, value)
        if deadline is not None and time.monotonic() > deadline:
            raise TimedOutError(f"no time left after step {done} of {total_steps}")
        if done in points and at_point(done):
            break
    return Trained(losses[:done].cpu(), seconds, padded_tokens / int(real_tokens))


def _finite(recent: Tensor, step: int) -> float:
    """The last of `recent`, read from the device. Raises DivergedError where one of them is not finite."""
    if not bool(torch.isfinite(recent).all()):
        raise DivergedError(f"the training loss is not finite at or before step {step}")
    return float(recent[-1])
