"""How a notebook shows the value of a cell: records stand below the pages that lay them out, so they know those only by name."""

from pkgutil import resolve_name
from typing import Any

LAYOUTS = {
    "Effect": "gradbook.page:comparison",
    "Finding": "gradbook.page:finding",
    "Study": "gradbook.page:study",
    "Task": "gradbook.page:task",
}
"""What makes the HTML of a value, by its class; templates are loaded where something is shown."""


def html(value: Any) -> str:
    """The HTML of a value, by its class or the first that it inherits from."""
    name = next(each.__name__ for each in type(value).__mro__ if each.__name__ in LAYOUTS)
    return str(resolve_name(LAYOUTS[name])(value))
