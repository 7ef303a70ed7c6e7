"""Says where episodes of each outcome count: the only such table.

An infrastructure fault is never a zero, and a fault of the user never moves
the agent. Evaluation is stricter than training: a dialogue that fails for the
user of the system counts as failed even if the fault was the user's; the share
of such faults is reported beside it.
"""

import dataclasses

from agentrl import types

O = types.Outcome


@dataclasses.dataclass(frozen=True, slots=True)
class OutcomeRule:
  """Where an episode counts.

  Attributes:
    baseline: its reward enters the group's mean and spread.
    gradient: its tokens are trained on. Not the same as `baseline`: the
      overlong filtering of DAPO, arXiv:2503.14476 section 3.4, would set it to
      False for AGENT_LIMIT, whose reward still counts.
    evaluated: it is a trial in pass^k (as a failure unless SUCCESS).
  """

  baseline: bool
  gradient: bool
  evaluated: bool


RULES: dict[types.Outcome, OutcomeRule] = {
    O.SUCCESS: OutcomeRule(baseline=True, gradient=True, evaluated=True),
    O.FAILURE: OutcomeRule(baseline=True, gradient=True, evaluated=True),
    O.AGENT_LIMIT: OutcomeRule(baseline=True, gradient=True, evaluated=True),
    O.USER_FAULT: OutcomeRule(baseline=False, gradient=False, evaluated=True),
    O.TOOL_ERROR: OutcomeRule(baseline=False, gradient=False, evaluated=False),
    O.INFRA: OutcomeRule(baseline=False, gradient=False, evaluated=False),
    O.CHECKER_ERROR: OutcomeRule(baseline=False, gradient=False,
                                 evaluated=False),
    O.UNJUDGED: OutcomeRule(baseline=False, gradient=False, evaluated=False),
}
