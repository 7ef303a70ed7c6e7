"""Says where episodes of each outcome count: the only such table.

Leaving an episode out of training pays for whatever led to it: if failures can
be turned into something that is left out, the objective becomes the success
rate of the rest, S / (S + F), and the agent learns to turn them. So an outcome
is left out only if the agent cannot bring it about. Each rule says why it
cannot be exploited, and `tests/rl/exploits_test.py` tries.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import Literal

from agentrl import types

O = types.Outcome
# What training makes of faults of the user:
#   keep: a dialogue that failed by one counts as failed;
#   reroll: a faulty turn is sampled again before the agent sees it; if it stays
#     faulty, the dialogue counts as with `keep`;
#   mask: such dialogues are left out, for the ablation alone.
UserFaults = Literal['keep', 'reroll', 'mask']


@dataclasses.dataclass(frozen=True, slots=True)
class OutcomeRule:
  """Where an episode counts.

  Attributes:
    baseline: its reward enters the group's mean and spread.
    gradient: its tokens are trained on. Not the same as `baseline`: the
      overlong filtering of DAPO, arXiv:2503.14476 section 3.4, would set it to
      False for AGENT_LIMIT, whose reward still counts.
    evaluated: it is a trial in pass^k (as a failure unless SUCCESS).
    why: why an agent gains nothing by bringing the outcome about.
    refilled: another dialogue of the task is played in its place.
  """

  baseline: bool
  gradient: bool
  evaluated: bool
  why: str
  refilled: bool = False


def _counts(why: str, evaluated: bool = True) -> OutcomeRule:
  return OutcomeRule(baseline=True, gradient=True, evaluated=evaluated, why=why)


RULES: Mapping[types.Outcome, OutcomeRule] = {
    O.SUCCESS: _counts(
        'The checker of the task has to pass, and its certificate says what it '
        'turns down.'),
    O.FAILURE: _counts('It earns 0, the least there is.'),
    O.AGENT_LIMIT: _counts(
        'It earns 0: talking until a limit is reached is worth no more than '
        'failing.'),
    O.USER_FAULT: _counts(
        'It earns 0: an agent that makes its user err or leave is worth no '
        'more than one that fails.'),
    O.TOOL_ERROR: _counts(
        'It earns 0 in training: an agent that found a call that breaks a tool '
        'would else make it whenever it is about to fail. Evaluations leave it '
        'out and count it, as the tool is at fault.', evaluated=False),
    O.CHECKER_ERROR: _counts(
        'It earns 0 in training: a dialogue that breaks its checker has not '
        'passed it. Evaluations leave it out and count it, as the checker is '
        'at fault.', evaluated=False),
    O.INFRA: OutcomeRule(
        baseline=False, gradient=False, evaluated=False, refilled=True,
        why='It is typed by the connection that failed, never by anything that '
        'was said, and another dialogue is played in its place.'),
    O.UNJUDGED: OutcomeRule(
        baseline=False, gradient=False, evaluated=False,
        why='Only a dialogue that has passed everything else is unjudged, so '
        'what is left out is never a failure.'),
}


def rules(user_faults: UserFaults) -> Mapping[types.Outcome, OutcomeRule]:
  """Returns the table for a treatment of user faults, see `UserFaults`."""
  if user_faults != 'mask':
    return RULES
  return {**RULES, O.USER_FAULT: OutcomeRule(
      baseline=False, gradient=False, evaluated=True,
      why='It can be exploited, and is: an agent learns to provoke faults of '
      'its user. For the ablation alone.')}
