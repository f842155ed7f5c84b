"""The table of a sweep: a row a strategy, and at each training-set size its score, its difference and its gap."""

from collections.abc import Callable

from bench.metrics import Metric
from reports import formats
from reports.formats import metric
from reports.palette import label
from reports.statistics import Summary
from reports.sweep import SweepRow, SweepVerdict
from reports.sweep_sentences import bounds, place
from reports.table import Cell, Column, Table
from reports.verdict import Score
from reports.verdict_table import difference_cell, missing

Part = Callable[[Metric, Score], Cell]


def sweep_table(verdict: SweepVerdict) -> Table:
    """The table of one sweep; what does not exist yet says so in words."""
    headline = metric(verdict.headline or "")
    parts: dict[str, Part] = {
        headline.label if verdict.headline else "score": lambda unit, score: _mean(unit, score.summary, score),
        "against full, 95% interval": _difference,
        "generalization gap": lambda unit, score: _mean(unit, score.gap, score),
    }
    sizes = [_size(size) for size in verdict.sizes]
    columns = [Column("strategy", numeric=False), Column("crossover", "95% interval")]
    columns += [Column(size, "", group) for group in parts for size in sizes]
    rows = [
        (
            Cell(label(row.name, row.strategy), strategy=row.strategy),
            _crossover(row),
            *(_cell(headline, score, part) for part in parts.values() for score in row.scores),
        )
        for row in verdict.rows
    ]
    reference = next((index for index, row in enumerate(verdict.rows) if row.is_reference), None)
    return Table(_caption(verdict), tuple(columns), tuple(rows), reference)


def _caption(verdict: SweepVerdict) -> str:
    n = max((len(score.seeds) for row in verdict.rows for score in row.scores if score is not None), default=0)
    return (
        f"By number of training examples; a smaller training set is part of every larger one. Mean over "
        f"{formats.count(n, 'seed')}, \N{PLUS-MINUS SIGN} standard deviation; differences to full fine-tuning of the "
        "same size, paired by seed, bold where decided. Crossover: where the mean difference changes its sign, "
        "interpolated on the logarithm of the size."
    )


def _size(size: int | None) -> str:
    return "all" if size is None else f"{size:,}"


def _crossover(row: SweepRow) -> Cell:
    found = row.crossover
    if row.is_reference:
        return Cell("reference")
    if found is None:
        return Cell(formats.MISSING)
    if found.outcome != "crossover" or found.size is None:
        note = {"ahead": "no crossover", "behind": "no crossover"}.get(found.outcome, "")
        return Cell(found.outcome, note or ("one seed, no interval" if found.seeds < 2 else ""))
    note = bounds(found) if found.closed else f"{bounds(found)}, perhaps none"
    return Cell(place(found.size), note, strong=found.closed)


def _cell(headline: Metric, score: Score | None, part: Part) -> Cell:
    if score is None or score.summary is None:
        return Cell(formats.MISSING, missing(score))
    return part(headline, score)


def _mean(headline: Metric, summary: Summary | None, score: Score) -> Cell:
    if summary is None:
        return Cell(formats.MISSING)
    mean, spread = formats.score(headline, summary)
    note = f"\N{PLUS-MINUS SIGN}\N{NO-BREAK SPACE}{spread}" if spread else "1 seed"
    return Cell(mean, "; ".join(filter(None, (note, missing(score)))))


def _difference(headline: Metric, score: Score) -> Cell:
    return difference_cell(headline, score.difference, is_reference=score.is_reference)
