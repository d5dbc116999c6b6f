"""Studies: several methods, many trials, one table."""

from gradbook.studies.arms import Arm, grid
from gradbook.studies.audit import aaudit, audit
from gradbook.studies.counting import step_calls, trial_calls
from gradbook.studies.design import Place
from gradbook.studies.planning import StudyPlan
from gradbook.studies.presets import paper
from gradbook.studies.questions import Registration, standard
from gradbook.studies.stated import read_file
from gradbook.studies.study import Study
from gradbook.studies.trial import Result, run_trial

__all__ = [
    "Arm",
    "Place",
    "Registration",
    "Result",
    "Study",
    "StudyPlan",
    "aaudit",
    "audit",
    "grid",
    "paper",
    "read_file",
    "run_trial",
    "standard",
    "step_calls",
    "trial_calls",
]
