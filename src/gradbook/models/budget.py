"""A limit on what calls may cost, which stops before it is passed and not after."""

import asyncio
from collections.abc import Mapping
from typing import Any

from gradbook.errors import BudgetExceeded, ModelError
from gradbook.scores import Spent

_MARGIN = 16  # tokens that a chat template may add to each message, and once more to the whole


class Budget:
    """How many calls, tokens and how much money may be spent; one budget may be shared by several models.

    Before a call its largest possible usage is set aside: a prompt has no more tokens than bytes, a reply no more than
    `max_tokens`. After it, what the endpoint has counted is charged to `spent` instead. Calls read from the cache are free.

    Args:
        calls: how many calls at most.
        tokens: of prompts and replies together.
        cost: in the currency of the models' `price`.
    """

    def __init__(self, calls: int | None = None, tokens: int | None = None, cost: float | None = None) -> None:
        self.calls, self.tokens, self.cost = calls, tokens, cost
        self.spent = Spent()
        self.start()

    def start(self) -> None:
        """Hold nothing for calls under way: at first, and in a forked child, where those of its parent never end."""
        self._held: list[Spent] = []
        self._settled = asyncio.Event()

    def __repr__(self) -> str:
        spent = self.spent
        used_up = f"spent {spent.calls} calls, {_tokens(spent)} tokens, {spent.cost or 0:g}"
        return f"Budget(calls={self.calls}, tokens={self.tokens}, cost={self.cost}; {used_up})"

    async def reserve(self, need: Spent) -> None:
        """Set `need` aside; waits for calls under way if only their reservations are in the way.

        Raises:
            BudgetExceeded: it does not fit.
        """
        while self.passed(sum(self._held, self.spent + need)):
            if not self._held or self.passed(self.spent + need):
                raise self._exceeded(need)
            await self._settled.wait()
        self._held.append(need)

    def settle(self, need: Spent, used: Spent) -> None:
        """Give back a reservation and charge what was used."""
        self._held.remove(need)
        self.spent += used
        self._settled.set()
        self._settled = asyncio.Event()

    def _limits(self, spent: Spent) -> dict[str, tuple[float, float]]:
        pairs = {"calls": (spent.calls, self.calls), "tokens": (_tokens(spent), self.tokens), "cost": (spent.cost or 0.0, self.cost)}
        return {name: (amount, limit) for name, (amount, limit) in pairs.items() if limit is not None}

    def passed(self, spent: Spent) -> list[str]:
        return [name for name, (amount, limit) in self._limits(spent).items() if amount > limit]

    def _exceeded(self, need: Spent) -> BudgetExceeded:
        name = self.passed(self.spent + need)[0]
        spent, limit = self._limits(self.spent)[name]
        needed, _ = self._limits(need)[name]
        return BudgetExceeded(
            f"The budget of {limit:g} {name} stops here: {spent:g} are spent and the next call may need {needed:g}; "
            "raise the budget to go on, finished calls are not paid again."
        )


def most(messages: list[dict[str, str]], sampling: Mapping[str, Any], price: tuple[float, float] | None, budget: Budget) -> Spent:
    """The most that a call can use.

    Args:
        messages: of the call.
        sampling: with `max_tokens` or `max_completion_tokens`.
        price: for a million tokens of prompt and of reply.
        budget: what it is for.

    Raises:
        ModelError: a budget of tokens or cost for a model without a limit on its reply, or of cost without a price.
    """
    limit = longest(sampling)
    if not limit and (budget.tokens is not None or budget.cost is not None):
        raise ModelError("A budget of tokens or cost needs a limit on the reply; put max_tokens or max_completion_tokens into sampling.")
    if price is None and budget.cost is not None:
        raise ModelError("A budget of cost needs a price; connect with price=(input, output), for a million tokens each.")
    prompt = _MARGIN + sum(_MARGIN + len(message["content"].encode("utf-8", "surrogatepass")) for message in messages)
    reply = limit * (sampling.get("n") or 1)
    cost = (prompt * price[0] + reply * price[1]) / 1e6 if price else None
    return Spent(calls=1, prompt_tokens=prompt, completion_tokens=reply, cost=cost)


def longest(sampling: Mapping[str, Any]) -> int:
    """How many tokens a reply may have; 0 where nothing says it."""
    return max(sampling.get(name) or 0 for name in ("max_tokens", "max_completion_tokens"))


def _tokens(spent: Spent) -> int:
    return spent.prompt_tokens + spent.completion_tokens
