"""What all samples of a run share: sources of demands, the LLM and its ledger.

A process makes one context and hands it down.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import os

from agentrl import resolve
from agentrl import types
from agentrl.eigendata import config as config_lib
from agentrl.eigendata import prompts
from agentrl.eigendata import source as source_lib
from agentrl.eigendata.tau2 import domain as tau2_domain
from agentrl.eigendata.write import drafted
from agentrl.eigendata.write import invented
from agentrl.envs import load as env_load
from agentrl.llm import budget
from agentrl.llm import build
from agentrl.llm import llm as llm_lib

# Workers that ask an LLM, and may have one of their own: `config.llm_roles`.
STAGES = (*dict.fromkeys(prompts.STAGES.values()), types.Worker.STUDENT)


@dataclasses.dataclass(frozen=True)
class Context:
  """What all samples of a run share, also those of other threads.

  Attributes:
    sources: domain -> source of its demands.
    llm: LLM of all workers.
    ledger: account that the LLM is paid from.
    seed: seed of the run.
    databases: number of databases of each split.
    other_share: share of the tasks in which not every demand is simply done.
    student: whether `config.llm_roles` has a student.
  """

  sources: Mapping[str, source_lib.TaskSource]
  llm: llm_lib.Meter
  ledger: budget.Ledger
  seed: int
  databases: int
  other_share: float
  student: bool = False

  @property
  def envs(self) -> dict[str, source_lib.WritableEnv]:
    """The domains by name."""
    return {name: source.env for name, source in self.sources.items()}


def make(config: config_lib.Config) -> Context:
  """Returns the context of a config, see configs/eigendata/builtin.py.

  Raises:
    ValueError: a field is wrong, or would have no effect.
  """
  _check_roles(config)
  llm, ledger = build.make(
      config.llm, config.llm_kw, others=config.llm_roles,
      account=config.llm_account, plain=(types.Worker.STUDENT,))
  return Context(
      {name: _source(name, config) for name in config.domains}, llm, ledger,
      config.seed, config.databases, config.other_share,
      types.Worker.STUDENT in config.llm_roles)


def of_folder(folder: str | os.PathLike) -> Context:
  """Returns the context of a run, from the config in its folder."""
  return make(config_lib.of_folder(folder))


def _check_roles(config: config_lib.Config) -> None:
  """Raises ValueError for roles of `config.llm_roles` without an effect."""
  for stage, own in config.llm_roles.items():
    if stage not in STAGES:
      raise ValueError(f'llm_roles.{stage} would have no effect: there is no '
                       'worker of that name that asks an LLM.'
                       + resolve.hint(stage, STAGES))
    if own.get('brief') and stage != types.Worker.DIALOG_SYNTHESIS:
      raise ValueError(f'llm_roles.{stage}.brief would have no effect: only '
                       'DialogSynthesis has short prompts.')
  if (types.Worker.STUDENT in config.llm_roles
      and not config.evolve.rounds):
    raise ValueError('llm_roles.Student would have no effect: it plays the '
                     'audits of rounds, and config.evolve.rounds is 0.')


def _source(name: str, config: config_lib.Config) -> source_lib.TaskSource:
  """Returns the source of demands for a domain.

  Raises:
    ValueError: test tasks of the benchmark are asked for.
  """
  if not name.startswith('tau2:'):
    env = env_load.load(name, config.env)
    return (drafted.DraftedTasks(env) if env.drafts
            else invented.InventedTasks(env))
  if config.num_test:
    raise ValueError(f'{name} brings its own test tasks, by which models are '
                     'compared: set config.num_test=0, got '
                     f'{config.num_test}.')
  return invented.InventedTasks(resolve.call(
      tau2_domain.Tau2Domain, {'domain': name[5:], **config.env}))
