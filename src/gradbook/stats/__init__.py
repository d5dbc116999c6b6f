"""Tests and intervals on arrays: no case, no model, no page.

On SciPy's special functions, and not on `scipy.stats`, which takes a second to import. They are named in full (`scipy.special.stdtrit`):
so SciPy loads them with the first call, and a notebook or a script is at work before it.

Of a study, say first what is to be decided, then judge it by the scores of each arm's trials (or trial × example):

    hypotheses = [
        Hypothesis(name="the loss matters", arms=("correct labels", "wrong labels"), family="loss"),
        Hypothesis(name="validation discovers", arms=("1", "3", "5"), doses=(1, 3, 5), margin=0.05),
    ]
    registered = registration(hypotheses, alpha=0.05, correction="holm", trials=10)
    print(outlook(hypotheses[0], trials=10, spread=0.05))
    for found in properties({"correct labels": [0.61, 0.7, ...], ...}, hypotheses):
        print(found)
"""

from gradbook.stats.components import Components, components
from gradbook.stats.effect import Effect, Estimate, Verdict, contrast, effect, points
from gradbook.stats.hypotheses import Correction, Hypothesis, changed, registration
from gradbook.stats.intervals import mean_interval, mean_of_shares, paired_p, wilson
from gradbook.stats.mantel import Mantel, mantel
from gradbook.stats.permutation import Contrast, Direction, Tau, kendall, permutation_test
from gradbook.stats.power import Size, detectable, hedges, power, trials_for
from gradbook.stats.prevalence import Prevalence, prevalence
from gradbook.stats.properties import Outlook, Property, PropertyVerdict, outlook, properties
from gradbook.stats.scaling import Scaling, scaling
from gradbook.stats.screening import Worth, confirm, removals, screen
from gradbook.stats.selection import Optimism, optimism
from gradbook.stats.trend import Trend, rise, slopes, trend

__all__ = [
    "Components",
    "Contrast",
    "Correction",
    "Direction",
    "Effect",
    "Estimate",
    "Hypothesis",
    "Mantel",
    "Optimism",
    "Outlook",
    "Prevalence",
    "Property",
    "PropertyVerdict",
    "Scaling",
    "Size",
    "Tau",
    "Trend",
    "Verdict",
    "Worth",
    "changed",
    "components",
    "confirm",
    "contrast",
    "detectable",
    "effect",
    "hedges",
    "kendall",
    "mantel",
    "mean_interval",
    "mean_of_shares",
    "optimism",
    "outlook",
    "paired_p",
    "permutation_test",
    "points",
    "power",
    "prevalence",
    "properties",
    "registration",
    "removals",
    "rise",
    "scaling",
    "screen",
    "slopes",
    "trend",
    "trials_for",
    "wilson",
]
