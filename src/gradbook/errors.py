"""What gradbook raises: each message is one sentence that names the thing at fault and what would be right."""


class GradbookError(Exception):
    """Base of every error that gradbook raises on purpose; its text is meant to be shown to a person as it is.

    What it quotes was written by others: signs that a terminal would act on stand as their codes.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__("".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in str(message)))


class TaskError(GradbookError):
    """A data set or a task cannot be used: a bad file, a missing column, an empty split, a target outside the labels."""


class ModelError(GradbookError):
    """A model cannot be had or did not answer: unknown name, wrong hash, refused key, retries used up."""


class BudgetExceeded(ModelError):
    """The next call could pass the budget, so it was not made."""


class MethodError(GradbookError):
    """Settings of a method that make no sense together, or a template without a placeholder it needs."""


class CaseError(GradbookError):
    """A case folder cannot be read or written: not a case, damaged, open in another kernel, already running."""


class ComparisonError(CaseError):
    """Two steps cannot be compared: one is not done, other models made them, or nothing was changed between them."""


class EditError(GradbookError):
    """An edit does not fit the step: no such stage, example or candidate, or nothing changed."""


class ExportError(GradbookError):
    """An export cannot be written: an unknown ending, or no folder to write to."""


class PackError(GradbookError):
    """A case cannot be packed, or what came as one is not taken: another ending, private examples, a link, a path that leads elsewhere."""


class StatsError(GradbookError):
    """Arrays that no test fits: another number of examples in each arm, too few replicates, a score that is no number."""


class StudyError(GradbookError):
    """A study cannot be made, changed or run: no arms, a length given twice, other tasks than it has, run by another process."""
