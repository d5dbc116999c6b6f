"""What a case, a step, a change, a method and an effect are, told once in words and rows for whoever lays them out.

Functions take a recording and give the views of `tell.views`, which hold plain texts and never change.
"""

from gradbook.tell.case import case, head, task
from gradbook.tell.effect import effect, means, metrics, pair
from gradbook.tell.findings import FoundRow, asks, finding
from gradbook.tell.names import base, comparable, line, perturbing, what
from gradbook.tell.overviews import TreeView
from gradbook.tell.step import note, step
from gradbook.tell.study import StudyView, study
from gradbook.tell.tree import tree
from gradbook.tell.views import Annotations
from gradbook.tell.walk import walk
from gradbook.tell.words import difference

__all__ = [
    "Annotations",
    "FoundRow",
    "StudyView",
    "TreeView",
    "asks",
    "base",
    "case",
    "comparable",
    "difference",
    "effect",
    "finding",
    "head",
    "line",
    "means",
    "metrics",
    "note",
    "pair",
    "perturbing",
    "step",
    "study",
    "task",
    "tree",
    "walk",
    "what",
]
