"""How the files of the GLUE tasks look: in the original TSV layout (Wang et al., 2018) and in the hub's.

Classes have the order and names of the hub's version, so that the same data has the same fingerprint from
either.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Columns:
    """The columns of the sentences and of the label."""

    text: tuple[str, ...]
    label: str

    @property
    def all(self) -> tuple[str, ...]:
        """All that is read."""
        return (*self.text, self.label)


@dataclass(frozen=True)
class Layout:
    """One task.

    folder      its folder in the original layout
    config      its name on the hub
    tsv, hub    columns of the TSV files, and of all other forms
    labels      names of the classes in order; empty for regression
    written     how TSV files write the classes, in the same order
    unnamed     all columns of a TSV file without a header line; empty where there is one
    evaluation  names of the evaluation split, the original one first
    extra       further labelled sets and the names of their splits, likewise
    incomplete  "left out": the original files are known to have rows that lack a column or a sentence
    diagnostic  whether GLUE's diagnostic set, where it is there with labels, is one more extra set
    undecided   how TSV files write that annotators did not agree; such rows are left out
    overlaps    families of tuning corpora the data belongs to; STS-B takes a third of its pairs from captions
    """

    folder: str
    config: str
    tsv: Columns
    hub: Columns
    metrics: tuple[str, ...]
    labels: tuple[str, ...] = ()
    written: tuple[str, ...] = ("0", "1")
    unnamed: tuple[str, ...] = ()
    evaluation: tuple[str, ...] = ("dev", "validation")
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    incomplete: str = "refused"
    undecided: str | None = None
    diagnostic: bool = False
    overlaps: tuple[str, ...] = ()


SENTENCE = Columns(("sentence",), "label")
SENTENCES = Columns(("sentence1", "sentence2"), "label")
QUESTION = Columns(("question", "sentence"), "label")
ENTAILMENT = ("entailment", "not_entailment")
NLI = ("entailment", "neutral", "contradiction")

LAYOUTS = {
    "cola": Layout(
        folder="CoLA",
        config="cola",
        tsv=SENTENCE,
        hub=SENTENCE,
        metrics=("matthews_correlation", "accuracy"),
        labels=("unacceptable", "acceptable"),
        unnamed=("source", "label", "original", "sentence"),
    ),
    "sst2": Layout("SST-2", "sst2", SENTENCE, SENTENCE, ("accuracy",), ("negative", "positive")),
    "mrpc": Layout(
        folder="MRPC",
        config="mrpc",
        tsv=Columns(("#1 String", "#2 String"), "Quality"),
        hub=SENTENCES,
        metrics=("f1", "accuracy"),
        labels=("not_equivalent", "equivalent"),
    ),
    "qqp": Layout(
        folder="QQP",
        config="qqp",
        tsv=Columns(("question1", "question2"), "is_duplicate"),
        hub=Columns(("question1", "question2"), "label"),
        metrics=("f1", "accuracy"),
        labels=("not_duplicate", "duplicate"),
        incomplete="left out",
        overlaps=("QQP",),
    ),
    "stsb": Layout(
        folder="STS-B",
        config="stsb",
        tsv=Columns(SENTENCES.text, "score"),
        hub=SENTENCES,
        metrics=("spearman", "pearson"),
        overlaps=("captions",),
    ),
    "mnli": Layout(
        folder="MNLI",
        config="mnli",
        tsv=Columns(SENTENCES.text, "gold_label"),
        hub=Columns(("premise", "hypothesis"), "label"),
        metrics=("accuracy", "matthews_correlation"),
        labels=NLI,
        written=NLI,
        evaluation=("dev_matched", "validation_matched"),
        extra={"mismatched": ("dev_mismatched", "validation_mismatched")},
        incomplete="left out",
        undecided="-",
        diagnostic=True,
        overlaps=("NLI",),
    ),
    "qnli": Layout(
        folder="QNLI",
        config="qnli",
        tsv=QUESTION,
        hub=QUESTION,
        metrics=("accuracy",),
        labels=ENTAILMENT,
        written=ENTAILMENT,
        overlaps=("NLI",),
    ),
    "rte": Layout(
        folder="RTE",
        config="rte",
        tsv=SENTENCES,
        hub=SENTENCES,
        metrics=("accuracy",),
        labels=ENTAILMENT,
        written=ENTAILMENT,
        overlaps=("NLI",),
    ),
    "wnli": Layout("WNLI", "wnli", SENTENCES, SENTENCES, ("accuracy",), ("not_entailment", "entailment")),
}

# The labelled file of GLUE's diagnostic set: in a folder of its own or beside MNLI, in either of two layouts.
DIAGNOSTIC = "ax"
DIAGNOSTIC_HEADLINE = "matthews_correlation"
DIAGNOSTIC_FOLDERS = ("AX", "diagnostic", "MNLI")
DIAGNOSTIC_NAMES = ("diagnostic-full", "diagnostic", "AX")
DIAGNOSTIC_COLUMNS = (
    Columns(("Premise", "Hypothesis"), "Label"),
    Columns(SENTENCES.text, "gold_label"),
    Columns(SENTENCES.text, "label"),
)
