"""The workbench: one cell in which a person steps, edits, compares, notes and exports."""

from gradbook.ui.book import StudyBook
from gradbook.ui.forecast import Forecast
from gradbook.ui.stepper import Stepper

__all__ = ["Forecast", "Stepper", "StudyBook"]
