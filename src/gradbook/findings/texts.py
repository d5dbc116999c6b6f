"""How far texts are apart: the angle between their words, weighed by how rare those are (TF–IDF)."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def distances(texts: Sequence[str]) -> NDArray[np.float64]:
    """The distance of each text to each, 0 to 1: 1 minus the cosine of their TF–IDF, which counts these texts alone."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # takes a second, for which nobody who opens a case should wait
    from sklearn.metrics.pairwise import cosine_distances

    if not texts:
        return np.zeros((0, 0))
    return np.clip(cosine_distances(TfidfVectorizer(analyzer=_words).fit_transform(texts)), 0, 1)


def mean_distances(rows: Sequence[Sequence[str | None]]) -> NDArray[np.float64]:
    """Column × column, the mean over rows of the distance of their texts; nan where no row has a text in both."""
    whole = [text for row in rows for text in row if text is not None]
    found, first, columns = distances(whole), 0, len(rows[0])
    total, seen = np.zeros((columns, columns)), np.zeros((columns, columns))
    for row in rows:
        has = [n for n, text in enumerate(row) if text is not None]
        here = slice(first, first + len(has))
        total[np.ix_(has, has)] += found[here, here]
        seen[np.ix_(has, has)] += 1
        first += len(has)
    with np.errstate(invalid="ignore"):
        return total / seen


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold()) or [""]  # texts without a word are alike
