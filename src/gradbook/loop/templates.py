"""The meta-prompts of the stages: their text is in `templates.toml`, which a person may read and replace."""

import re
import tomllib
from importlib.resources import files

from pydantic import model_validator

from gradbook.errors import MethodError
from gradbook.loop.table import STAGE_INFO
from gradbook.records import Record

NEEDED = {name: needed for info in STAGE_INFO.values() for name, needed in info.templates.items()}
ALLOWED = ("answer", "label", "input", "output", "evaluation", "prompt", "output_critique", "critiques", "past", "examples")
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
    """The new prompt in an optimiser's reply to `template`.

    That is what stands in `<prompt>`, or else what follows "New prompt:" at the beginning of a line, or else the whole
    reply; where the template quotes the old prompt, without the marks. Lines of the template itself, which small models
    repeat, are dropped.
    """
    inside = re.search(r"<prompt>(.*?)(?:</prompt>|\Z)", reply, re.DOTALL)
    text = inside[1] if inside else re.split(r"(?im)^\W*new prompt(?:\W*$|\W*:[*_]*)", reply)[-1]
    if '"{prompt}"' in template and (quoted := re.fullmatch(r'(?:[^"\n]*:)?\s*"(.*)"', text.strip(), re.DOTALL)):
        text = quoted[1]
    echoes = [line.strip() for line in template.splitlines() if line.strip() and "{" not in line]
    lines = [line for line in text.splitlines() if not (line.strip() and any(echo.startswith(line.strip()) for echo in echoes))]
    return "\n".join(lines).strip().strip("`").strip()
