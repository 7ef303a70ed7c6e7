"""What each outcome of an episode counts for. The only such table.

An infrastructure fault is never a zero, and a fault of the user never moves
the agent. Evaluation is stricter than training: what a user of the system
would have seen fail counts as failed, whoever's fault it was, and the user's
share is reported beside it.
"""

import dataclasses

from agentrl import types

O = types.Outcome


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
  """Where an episode counts.

  Attributes:
    baseline: its reward enters the group's mean and spread.
    gradient: its tokens are trained on. Another question than `baseline`: the
      overlong filtering of DAPO, arXiv:2503.14476 section 3.4, would answer
      it with no for AGENT_LIMIT, whose reward still counts.
    evaluated: it is a trial in pass^k (as a failure unless SUCCESS).
  """

  baseline: bool
  gradient: bool
  evaluated: bool


RULES: dict[types.Outcome, Rule] = {
    O.SUCCESS: Rule(baseline=True, gradient=True, evaluated=True),
    O.FAILURE: Rule(baseline=True, gradient=True, evaluated=True),
    O.AGENT_LIMIT: Rule(baseline=True, gradient=True, evaluated=True),
    O.USER_FAULT: Rule(baseline=False, gradient=False, evaluated=True),
    O.TOOL_ERROR: Rule(baseline=False, gradient=False, evaluated=False),
    O.INFRA: Rule(baseline=False, gradient=False, evaluated=False),
    O.CHECKER_ERROR: Rule(baseline=False, gradient=False, evaluated=False),
    O.UNJUDGED: Rule(baseline=False, gradient=False, evaluated=False),
}
