"""Builds the LLM of a run, with all its wrappers, from a config."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
import dataclasses
from typing import Any

from agentrl import resolve
from agentrl.llm import budget
from agentrl.llm import cache as cache_lib
from agentrl.llm import llm as llm_lib
from agentrl.llm import strict


@dataclasses.dataclass(frozen=True)
class Account:
  """Budget, prices and cache of a run's models.

  Attributes:
    prices: rows (model, dollars a million prompt tokens, completion tokens,
      prompt tokens from the server's cache).
    dollars: most dollars that a run may spend; None: no limit.
    tokens: most tokens that a run may read and write; None: no limit.
    cache: folder of answers; '': they are not kept. Models of one name share
      them, on any server.
    evolve_share: share of dollars and tokens that evolution may spend; it ends
      then, so that tasks can be paid for.
  """

  prices: Sequence[Sequence[Any]] = ()
  dollars: float | None = None
  tokens: int | None = None
  cache: str = ''
  evolve_share: float = 0.5


def make(path: str, kw: Mapping[str, Any], *,
         others: Mapping[str, Mapping[str, Any]],
         account: Account, plain: Collection[str] = ()
         ) -> tuple[llm_lib.Meter, budget.Ledger]:
  """Builds the models of all stages, and the account that they are paid from.

  Args:
    path: import path of a class of models.
    kw: its keyword arguments.
    others: stage -> keyword arguments that differ there (with a `llm` of its
      own, an import path: all of them); and `brief`, true for short prompts.
    account: budget, prices and cache.
    plain: stages whose answers are taken as they come, not wrapped by
      `strict.Strict`.

  Raises:
    ValueError: a wrong path, argument or field, or a limit of dollars and a
      model without a price.
  """
  ledger = budget.Ledger(account.dollars, account.tokens,
                         account.evolve_share)
  prices = _prices(account)

  def asked(path: str, kw: Mapping[str, Any]) -> llm_lib.LLM:
    model = resolve.call(resolve.name(path), kw)
    identity = getattr(model, 'identity', None)
    if identity is None:
      return model
    price = prices.get(identity['model'])
    if price is None and account.dollars is not None:
      raise ValueError(
          f'No price of {identity["model"]!r}, yet dollars may run out: add a '
          'row to config.llm_account.prices.'
          + resolve.hint(identity['model'], prices))
    ledger.models.add(identity['model'])
    if stop := getattr(model, 'stop', None):
      ledger.ends.append(stop)
    if price is None:
      ledger.unpriced.add(identity['model'])
    paid = budget.Paid(model, identity, price or budget.Price(), ledger)
    if not account.cache:
      return paid
    return cache_lib.AnswerCache(paid, identity, account.cache)

  different = {}
  for stage, own in others.items():
    model = asked(own.get('llm', path), {
        k: v for k, v in {**(kw if 'llm' not in own else {}), **own}.items()
        if k not in ('llm', 'brief')})
    different[stage] = model if stage in plain else strict.Strict(model)
  brief = {stage for stage, own in others.items() if own.get('brief')}
  return llm_lib.Meter(strict.Strict(asked(path, kw)), different, brief), ledger


def _prices(account: Account) -> dict[str, budget.Price]:
  """Returns model -> price.

  Raises:
    ValueError: a row has another form.
  """
  prices = {}
  for row in account.prices:
    if len(row) != 4:
      raise ValueError(f'A price is a row (model, prompt, completion, cached '
                       f'prompt), in dollars a million tokens, got {row!r}.')
    prices[row[0]] = budget.Price(*row[1:])
  return prices
