"""Tests and intervals on arrays: no case, no model, no page.

On SciPy's special functions: `scipy.stats` takes a second to import, for which a person who opens a case would wait.
"""

from gradbook.stats.components import Components, components
from gradbook.stats.effect import Effect, Estimate, Verdict, contrast, effect, points
from gradbook.stats.intervals import mean_interval, mean_of_shares, paired_p, wilson
from gradbook.stats.mantel import Mantel, mantel
from gradbook.stats.prevalence import Prevalence, prevalence
from gradbook.stats.scaling import Scaling, scaling
from gradbook.stats.screening import Worth, confirm, removals, screen
from gradbook.stats.trend import Trend, rise, slopes, trend

__all__ = [
    "Components",
    "Effect",
    "Estimate",
    "Mantel",
    "Prevalence",
    "Scaling",
    "Trend",
    "Verdict",
    "Worth",
    "components",
    "confirm",
    "contrast",
    "effect",
    "mantel",
    "mean_interval",
    "mean_of_shares",
    "paired_p",
    "points",
    "prevalence",
    "removals",
    "rise",
    "scaling",
    "screen",
    "slopes",
    "trend",
    "wilson",
]
