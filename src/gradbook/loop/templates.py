"""The meta-prompts of the stages: their text is in `templates.toml`, which a person may read and replace."""

import re
import tomllib
from importlib.resources import files

from pydantic import model_validator

from gradbook.errors import MethodError
from gradbook.loop.table import STAGE_INFO
from gradbook.records import Record
from gradbook.replies import embraced, unwrap

NEEDED = {name: needed for info in STAGE_INFO.values() for name, needed in info.templates.items()}
NEEDED["negate"] = ("prompt",)  # of a perturbation, at any stage
ALLOWED = ("answer", "label", "input", "output", "evaluation", "prompt", "output_critique", "critiques", "past", "examples")
_HEADING = re.compile(r"(?P<marks>[\s*_#>]*)new prompt(?:[\s*_#]*$|[\s*_]*:[*_]*)", re.IGNORECASE)
_ANNOUNCED = re.compile(r"[\s*_#>]*(the )?new prompt[\s*_#:]*", re.IGNORECASE)
_DEFAULTS = tomllib.loads(files("gradbook.loop").joinpath("templates.toml").read_text(encoding="utf-8"))


class Templates(Record):
    """The meta-prompts, one a field, with `{placeholders}`; `critic_seed` is the prompt that a critic begins with.

    Raises:
        MethodError: a template lacks a placeholder that its stage needs, or has one that does not exist.
    """

    evaluation_right: str = _DEFAULTS["evaluation_right"]
    evaluation_wrong: str = _DEFAULTS["evaluation_wrong"]
    evaluation_unparsed: str = _DEFAULTS["evaluation_unparsed"]
    evaluation_none: str = _DEFAULTS["evaluation_none"]
    output_critique: str = _DEFAULTS["output_critique"]
    prompt_critique: str = _DEFAULTS["prompt_critique"]
    rewrite: str = _DEFAULTS["rewrite"]
    rewrite_momentum: str = _DEFAULTS["rewrite_momentum"]
    add: str = _DEFAULTS["add"]
    one_step: str = _DEFAULTS["one_step"]
    one_step_example: str = _DEFAULTS["one_step_example"]
    paraphrase: str = _DEFAULTS["paraphrase"]
    improve: str = _DEFAULTS["improve"]
    negate: str = _DEFAULTS["negate"]
    critic_seed: str = _DEFAULTS["critic_seed"]
    critic_input: str = _DEFAULTS["critic_input"]
    critic_binary: str = _DEFAULTS["critic_binary"]
    critic_score: str = _DEFAULTS["critic_score"]
    verdict_right: str = _DEFAULTS["verdict_right"]
    verdict_wrong: str = _DEFAULTS["verdict_wrong"]
    verdict_unparsed: str = _DEFAULTS["verdict_unparsed"]

    @model_validator(mode="after")
    def _placeholders(self) -> "Templates":
        for name, needed in NEEDED.items():
            found = set(re.findall(r"\{([a-z_]+)\}", getattr(self, name)))
            for placeholder in needed:
                if placeholder not in found:
                    raise MethodError(f"the template {name} needs the placeholder {{{placeholder}}}")
            for placeholder in found - set(ALLOWED):
                raise MethodError(f"the template {name} has the unknown placeholder {{{placeholder}}}; there are {', '.join(ALLOWED)}")
        return self


def fill(template: str, **values: str) -> str:
    """Put `values` in for the placeholders in one pass, so that braces inside a value stay as they are."""
    return re.sub(r"\{([a-z_]+)\}", lambda m: values.get(m[1], m[0]), template).strip()


def new_prompt(reply: str, template: str) -> str:
    """The new prompt in an optimiser's reply to `template`, whose thoughts are off already; "" where there is none.

    That is what one pair embraces (`replies.unwrap`), exactly as it stands there. Small models wrap nothing: then it is what follows a
    heading "New prompt:", or else the whole reply, in a pair or without the lines of the template that they repeat.
    """
    quoted = '"{prompt}"' in template
    for text in (reply, rest := _below_heading(reply)):
        if (inside := embraced(text, quoted)) is not None:
            return inside
    echoes = {line.strip() for line in template.split("\n") if "{" not in line and len(line.split()) > 1}
    return "\n".join(line for line in unwrap(rest, quoted).split("\n") if not _repeats(line.strip(), echoes)).strip()


def _below_heading(reply: str) -> str:
    """What follows "New prompt:" where the reply begins with that, or else the last such heading; the reply where there is none.

    A heading with nothing below it announces nothing and is left off: a small model may write the prompt first, and the heading last.
    """
    lines = reply.strip().split("\n")
    while len(lines) > 1 and (not lines[-1].strip() or _ANNOUNCED.fullmatch(lines[-1])):
        lines.pop()
    for n in (0, *range(len(lines) - 1, 0, -1)):
        found = _HEADING.match(lines[n])
        if found and (n == 0 or found["marks"].strip() or not lines[n][found.end() :].strip() or not lines[n - 1].strip()):
            return "\n".join([lines[n][found.end() :], *lines[n + 1 :]])
    return "\n".join(lines)


def _repeats(line: str, echoes: set[str]) -> bool:
    """Whether a line is one of the template's, or the beginning of one, long enough that it is not there by chance."""
    return line in echoes or (len(line) >= 20 and any(echo.startswith(line) for echo in echoes))
