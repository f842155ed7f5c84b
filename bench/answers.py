"""Scores of extracted answers by the rules of SQuAD (Rajpurkar et al., 2016; unanswerable questions: 2018).

Answers are compared as words: lower case, without ASCII punctuation and the articles a, an and the. Each question
counts with its best gold answer. A gold answer without words does not count; a question without gold answers is
unanswerable, and right is then to answer nothing. Torch-free.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

__all__ = ["answer_f1", "exact_match", "words"]

ARTICLES = re.compile(r"\b(?:a|an|the)\b")
WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def words(text: str) -> list[str]:
    """The words of an answer as they are compared."""
    return ARTICLES.sub(" ", text.lower().translate(WITHOUT_PUNCTUATION)).split()


def exact_match(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Share of questions whose answer has the very words of a gold answer; `references` are its gold answers."""
    return _mean_of_best(lambda ours, gold: float(ours == gold), predictions, references)


def answer_f1(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean F1 of an answer's bag of words against its best gold answer's; against no words it is 1 or 0."""
    return _mean_of_best(_bag_f1, predictions, references)


def _mean_of_best(
    compare: Callable[[list[str], list[str]], float], predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> float:
    best = []
    for prediction, answers in zip(predictions, references, strict=True):
        gold = [found for answer in answers if (found := words(answer))] or [[]]
        best.append(max(compare(words(prediction), one) for one in gold))
    return sum(best) / len(best)


def _bag_f1(ours: list[str], gold: list[str]) -> float:
    if not (ours and gold):
        return float(ours == gold)
    shared = (Counter(ours) & Counter(gold)).total()
    return 2 * shared / (len(ours) + len(gold))
