"""Choosing an epoch on the selection split: the weights that did best there are kept, and training may stop early."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bench.metrics import METRICS
from bench.results import Checkpoint, Checkpoints, SplitScores


class BestCheckpoint:
    """Holds a copy of what trains, as it was at the best epoch so far; a few kilobytes for BitFit.

    parameters  what trains
    headline    metric of the selection scores that decides; of equal scores the earlier epoch wins
    patience    epochs without a better score after which `saw` asks to stop; None: never
    """

    def __init__(self, parameters: Sequence[nn.Parameter], headline: str, patience: int | None = None) -> None:
        self._parameters = parameters
        self._headline = METRICS[headline]
        self._patience = patience
        self._tried: list[Checkpoint] = []
        self._best: tuple[float, int] | None = None
        self._kept: list[Tensor] = []
        self._waited = 0

    def saw(self, step: int, selection: SplitScores) -> bool:
        """Take note of the scores after `step` steps; True where training should stop."""
        score = selection.scores[self._headline.name]
        self._tried.append(Checkpoint(step=step, score=score, loss=selection.loss))
        merit = self._headline.merit(score)
        if self._best is None or merit > self._best[0]:
            self._best, self._waited = (merit, step), 0
            self._kept = [parameter.detach().clone() for parameter in self._parameters]
        else:
            self._waited += 1
        return self._patience is not None and self._waited >= self._patience

    @torch.no_grad()
    def restore(self, total_steps: int) -> Checkpoints:
        """Put the best weights back and say how they were chosen. Raises ValueError where nothing was seen."""
        if self._best is None:
            raise ValueError("no checkpoint was seen, so none can be restored")
        for parameter, kept in zip(self._parameters, self._kept, strict=True):
            parameter.copy_(kept)
        stopped = self._tried[-1].step < total_steps
        return Checkpoints(chosen_step=self._best[1], tried=self._tried, stopped=stopped)
