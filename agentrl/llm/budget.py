"""Counts the cost of models, and stops before it exceeds a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import json
import pathlib
import threading
from typing import Any

from agentrl import files
from agentrl import jsons
from agentrl import types
from agentrl.llm import llm


@dataclasses.dataclass(frozen=True, slots=True)
class Price:
  """Price of a model.

  Attributes:
    prompt: price of tokens that are read [dollars a million].
    completion: price of tokens that are written [dollars a million].
    cached: price of tokens from the server's cache [dollars a million].
  """

  prompt: float = 0.0
  completion: float = 0.0
  cached: float = 0.0

  def of(self, usage: llm.Usage) -> float:
    """Returns the price of a usage [dollars]."""
    fresh = usage.prompt_tokens - usage.cached_tokens
    return (fresh * self.prompt + usage.cached_tokens * self.cached
            + usage.completion_tokens * self.completion) / 1e6


class Ledger:
  """The account that all models of a run are paid from; threads share it.

  Args:
    dollars: most dollars to spend; None: no limit.
    tokens: most tokens to read and write; None: no limit.
    evolve_share: share of both limits that may be spent until the end of
      `evolving`.

  Raises:
    ValueError: `evolve_share` is no share.

  Attributes:
    spent: usage so far.
    stopped: how the budget was used up; '' while it is not.
    models: names of the models that are paid from it.
    unpriced: names of those without a known price; they count as free.
    ends: functions that are called when it is closed; they end the retries of
      clients.
  """

  def __init__(self, dollars: float | None = None, tokens: int | None = None,
               evolve_share: float = 1.0):
    self._dollars = float('inf') if dollars is None else dollars
    self._tokens = float('inf') if tokens is None else tokens
    if not 0 < evolve_share <= 1:
      raise ValueError('llm_account.evolve_share is a share of the account, '
                       f'above 0 and at most 1, got {evolve_share!r}.')
    self._evolve_share, self._share = evolve_share, 1.0
    self.spent = llm.Usage()
    self.stopped = ''
    self.models: set[str] = set()
    self.unpriced: set[str] = set()
    self.ends: list[Callable[[], None]] = []
    self._closed = False
    self._file: pathlib.Path | None = None
    self._under_way: list[llm.Usage] = []  # the most that each may cost
    self._changed = threading.Condition()

  def keep(self, file: pathlib.Path) -> None:
    """Reads from a file what was spent before, and writes it there after each
    call. Calls under way when a process is killed are lost from it."""
    self._file = file
    if file.exists():
      self.spent = llm.Usage(**files.read_json(file))

  def reserve(self, most: llm.Usage) -> None:
    """Reserves the most that a call may cost; waits as long as calls under way
    hold reserves that it would need.

    Raises:
      llm.OverBudget: the budget does not suffice for it.
      llm.Interrupted: the ledger is closed.
    """
    with self._changed:
      self._changed.wait_for(
          lambda: self._closed or self.stopped
          or self._fits(most, *self._under_way) or not self._fits(most))
      if self._closed:
        raise llm.Interrupted('The run is over.')
      if not self.stopped and not self._fits(most):
        self.stopped = (
            f'over budget: ${self.spent.dollars:.4f} and {self.spent.tokens} '
            f'tokens are spent, the next call may cost ${most.dollars:.4f} and '
            f'{most.tokens} tokens'
            + f' (evolution has {self._share:.0%} of all)' * (self._share < 1))
        self._changed.notify_all()
      if self.stopped:
        raise llm.OverBudget(self.stopped)
      self._under_way.append(most)

  def settle(self, most: llm.Usage, usage: llm.Usage) -> None:
    """Replaces the reserve of a call by its usage."""
    with self._changed:
      self._under_way.remove(most)
      self.spent += usage
      self._changed.notify_all()
      if self._file and usage != llm.Usage():
        files.write_json(self._file, jsons.to_json(self.spent))

  @contextlib.contextmanager
  def evolving(self) -> Iterator[None]:
    """Lowers the limits to their `evolve_share` within the context, so that
    evolution leaves a part of the budget for writing tasks."""
    self._share = self._evolve_share
    yield
    with self._changed:  # not after an error: then all is over
      self._share, self.stopped = 1.0, ''

  def close(self) -> None:
    """Ends all payment: callers are interrupted from now on."""
    with self._changed:
      self._closed = True
      self._changed.notify_all()
    for end in self.ends:
      end()

  def _fits(self, *more: llm.Usage) -> bool:
    total = sum(more, self.spent)
    return (total.dollars <= self._share * self._dollars
            and total.tokens <= self._share * self._tokens)


class Paid:
  """An `LLM` whose calls are paid from a ledger.

  Raises (`complete`):
    OverBudget: before a call that might cost more than is left.
    Interrupted: before any call, once the ledger is closed.
  """

  def __init__(self, inner: llm.LLM, identity: Mapping[str, Any],
               price: Price, ledger: Ledger):
    self._inner, self._identity = inner, identity
    self._price, self._ledger = price, ledger

  def complete(self, messages: Sequence[types.Message], *,
               schema: Mapping[str, Any] | None = None,
               tools: Sequence[Mapping[str, Any]] = (),
               seed: int) -> llm.Answer:
    most = self._priced(llm.Usage(
        most_tokens(messages, schema, tools), self._identity['max_tokens'], 1))
    self._ledger.reserve(most)
    usage = llm.Usage()
    try:
      reply = self._inner.complete(messages, schema=schema, tools=tools,
                                   seed=seed)
      usage = self._priced(reply.usage)
    finally:
      self._ledger.settle(most, usage)
    return dataclasses.replace(reply, usage=usage)

  def _priced(self, usage: llm.Usage) -> llm.Usage:
    return dataclasses.replace(usage, dollars=self._price.of(usage))


def most_tokens(messages: Sequence[types.Message],
                schema: Mapping[str, Any] | None,
                tools: Sequence[Mapping[str, Any]]) -> int:
  """Returns an upper bound of the tokens of a prompt: no token is shorter than
  a byte, and the JSON around each message is longer than any markup."""
  texts = [jsons.dumps(messages), json.dumps([schema, list(tools)])]
  return 64 * (len(messages) + 2) + sum(len(t.encode()) for t in texts)
