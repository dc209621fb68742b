"""How near texts are to references: BLEU, ROUGE-L and CIDEr-D as pycocoevalcap computes them.

Papers on video captions report these from pycocoevalcap 1.2; what differs there from the original
definitions is kept: its BLEU adds tiny numbers to avoid zeros, its ROUGE-L takes the best precision
and the best recall of all references, and its CIDEr-D takes document frequencies from the
references at hand, so that a value depends on how many there are.

Sources: Papineni et al. 2002 (BLEU), Lin 2004 (ROUGE), Vedantam et al. 2015 (CIDEr). Only the
tokens are ours: a regular expression in place of the Java tokeniser.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hhvad.errors import DataError

ORDERS = 4  # the longest n-gram
BETA = 1.2  # how much more recall counts in ROUGE-L
SIGMA = 6.0  # words by which a length may differ in CIDEr-D
_TINY, _SMALL = 1e-15, 1e-9

Floats = NDArray[np.float64]
Words = Sequence[str]
Gram = tuple[str, ...]

_TOKEN = re.compile(
    r"""
    \b(?:mr|mrs|ms|dr|st|vs|jr|sr)\.(?=\s)                # abbreviations keep their dot
    | (?:[a-z]\.){2,}                                     # u.s.
    | \b(?:can)(?=not\b)                                  # can not
    | [a-z0-9]+(?=n't\b) | n't\b | '(?:s|re|ve|ll|d|m)\b  # do n't, man 's
    | \d+(?:[.,:/]\d+)*(?:st|nd|rd|th|s)?\b               # 10,000 2.5 1980s
    | [^\W_]+(?:[-/'&@_.][^\W_]+)*                        # well-known
    | \.{3} | [^\w\s]
    """,
    re.VERBOSE | re.IGNORECASE,
)
# What the tokeniser's users drop; its brackets come as -LRB-, and lower-cased they stay.
_DROPPED = {
    "''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";", '"', "“", "”", "‘", "’",
}  # fmt: skip
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}


def tokens(text: str) -> list[str]:
    """The words of a text, lower case, without punctuation: nearly those of the PTB tokeniser."""
    found = _TOKEN.findall(" ".join(text.split()))
    return [_BRACKETS.get(word, word.lower()) for word in found if word not in _DROPPED]


class Scores(NamedTuple):
    """Of a corpus of N texts: the corpus's values, and those of each text.

    bleu [4] and bleu_items [4, N] for n-grams up to 1, 2, 3, 4; the others are means of items [N].
    """

    bleu: Floats
    bleu_items: Floats
    rouge_l: float
    rouge_l_items: Floats
    cider: float
    cider_items: Floats


def score_texts(candidates: Sequence[Words], references: Sequence[Sequence[Words]]) -> Scores:
    """Compare each candidate with its references, all as words.

    Raises DataError where there are none, or their numbers differ.
    """
    if not candidates or len(candidates) != len(references) or not all(references):
        raise DataError(
            f"{len(candidates)} texts and {len(references)} sets of references: give each text at "
            "least one reference"
        )
    corpus, items = bleu(candidates, references)
    rouge = np.array([rouge_l(c, r) for c, r in zip(candidates, references, strict=True)])
    cider = cider_d(candidates, references)
    return Scores(corpus, items, float(rouge.mean()), rouge, float(cider.mean()), cider)


def ngrams(words: Words) -> Counter[Gram]:
    """How often each n-gram of 1 to 4 words occurs."""
    return Counter(
        tuple(words[i : i + n]) for n in range(1, ORDERS + 1) for i in range(len(words) - n + 1)
    )


def bleu(
    candidates: Sequence[Words], references: Sequence[Sequence[Words]]
) -> tuple[Floats, Floats]:
    """BLEU-1 to 4 of the corpus [4] and of each text [4, N].

    The length of the nearest reference counts, the shorter of two.
    """
    rows = bleu_counts(candidates, references)
    return bleu_of(rows.sum(axis=0)), np.stack([bleu_of(row) for row in rows], axis=1)


def bleu_counts(candidates: Sequence[Words], references: Sequence[Sequence[Words]]) -> Floats:
    """What BLEU is computed from, [N, 10]: the sum over texts gives the corpus's."""
    return np.array([_counts(c, r) for c, r in zip(candidates, references, strict=True)])


def _counts(candidate: Words, references: Sequence[Words]) -> Floats:
    """Matches [4] and guesses [4] by order, the candidate's length, the reference's."""
    mine, best = ngrams(candidate), Counter[Gram]()
    for reference in references:
        best |= ngrams(reference)
    matches = np.zeros(ORDERS)
    for gram, count in (mine & best).items():
        matches[len(gram) - 1] += count
    length = len(candidate)
    guesses = [max(0, length - n) for n in range(ORDERS)]
    nearest = min((len(r) for r in references), key=lambda other: (abs(other - length), other))
    return np.array([*matches, *guesses, length, nearest], dtype=np.float64)


def bleu_of(counts: Floats) -> Floats:
    """BLEU-1 to 4 [4] from counts [10]."""
    matches, guesses, (length, reference) = counts[:ORDERS], counts[ORDERS:-2], counts[-2:]
    precision = (matches + _TINY) / (guesses + _SMALL)
    values = np.cumprod(precision) ** (1 / np.arange(1, ORDERS + 1))
    ratio = (length + _TINY) / (reference + _SMALL)
    return np.asarray(values * np.exp(1 - 1 / ratio) if ratio < 1 else values)


def rouge_l(candidate: Words, references: Sequence[Words]) -> float:
    """ROUGE-L by the longest common subsequence: best precision and recall of all references."""
    common = [_lcs(candidate, reference) for reference in references]
    precision = max(common) / len(candidate) if candidate else 0.0
    recall = max(
        (one / len(reference) for one, reference in zip(common, references, strict=True)
         if reference), default=0.0
    )  # fmt: skip
    if not precision or not recall:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def _lcs(first: Words, second: Words) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for word in first:
        before = 0
        for i, other in enumerate(second, start=1):
            before, row[i] = row[i], before + 1 if word == other else max(row[i], row[i - 1])
    return row[-1]


def cider_d(candidates: Sequence[Words], references: Sequence[Sequence[Words]]) -> Floats:
    """CIDEr-D of each text [N], times 10; document frequencies are of these references."""
    grams = [[ngrams(reference) for reference in each] for each in references]
    frequency = Counter(gram for each in grams for gram in set().union(*each))
    size = np.log(float(len(references)))
    found = []
    for candidate, each in zip(candidates, grams, strict=True):
        mine = _weighed(ngrams(candidate), frequency, size)
        total = np.zeros(ORDERS)
        for reference in each:
            total += _similarity(mine, _weighed(reference, frequency, size))
        found.append(10 * float(total.mean()) / len(each))
    return np.array(found)


class _Weighed(NamedTuple):
    """n-grams with their weights, the norm of each order [4], and the number of bigrams."""

    weights: dict[Gram, float]
    norms: Floats
    length: int


def _weighed(grams: Counter[Gram], frequency: Counter[Gram], size: float) -> _Weighed:
    weights, squares, length = {}, np.zeros(ORDERS), 0
    for gram, count in grams.items():
        weight = float(count * (size - np.log(max(1.0, frequency[gram]))))
        weights[gram] = weight
        squares[len(gram) - 1] += weight**2
        length += count if len(gram) == 2 else 0
    return _Weighed(weights, np.sqrt(squares), length)


def _similarity(mine: _Weighed, other: _Weighed) -> Floats:
    """Cosine by order [4], counts clipped to the reference's, punished for another length."""
    values = np.zeros(ORDERS)
    for gram, weight in mine.weights.items():
        theirs = other.weights.get(gram, 0.0)
        values[len(gram) - 1] += min(weight, theirs) * theirs
    norms = mine.norms * other.norms
    values = np.divide(values, norms, out=values, where=norms != 0)
    delta = mine.length - other.length
    return np.asarray(values * np.exp(-(delta**2) / (2 * SIGMA**2)))
