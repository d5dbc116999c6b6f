"""Models: `connect()` finds one, embedded or remote; every call goes through the same client, cache and budget."""

from gradbook.models.budget import Budget
from gradbook.models.cache import CallCache
from gradbook.models.endpoint import Model
from gradbook.models.resolve import connect
from gradbook.models.spec import ModelSpec

__all__ = ["Budget", "CallCache", "Model", "ModelSpec", "connect"]
