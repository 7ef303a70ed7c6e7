"""Hindsight: a dialogue that did less than its task asks suits a task that asks
for less.

Source: "hindsight experience replay", arXiv:1707.01495: the state that was
reached becomes the goal. Here the task is cut down to the demands that were met
in full, and has to earn its own certificate; where the user named more than
that, or a policy was broken, it does not.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentrl import types
from agentrl.eigendata.plan import planner
from agentrl.envs import domain


def met(demands: Sequence[domain.Demand], messages: Sequence[types.Message],
        split: str) -> tuple[domain.Demand, ...]:
  """Returns the demands that a dialogue met, if they make a smaller task.

  Args:
    demands: demands of the task that was played.
    messages: messages of the dialogue.
    split: split of the plan; a combination that is held out for the other one
      makes no task.

  Returns:
    () if none was met, all were, or the combination is not for this split.
  """
  accepted = {m.id for m in messages if m.role == 'tool' and not m.error}
  calls = [(c.requestor, c.name, dict(c.arguments))
           for m in messages for c in m.tool_calls if c.id in accepted]
  words = {side: ' '.join(m.content or '' for m in messages
                          if m.role == side).lower()
           for side in ('assistant', 'user')}
  kept = tuple(d for d in demands if _is_met(d, calls, words))
  families = [d.family for d in kept]
  if len(kept) in (0, len(demands)) or (
      len(kept) > 1 and planner.held_out(families) != (split == 'test')):
    return ()
  return kept


def _is_met(demand: domain.Demand, done: Sequence[tuple], words: dict[str, str]
            ) -> bool:
  """Returns whether a demand was named by the user, carried out to the letter,
  and reported."""
  calls = [(b.by, b.call, dict(b.arguments)) for b in demand.beats if b.call]
  return (all(call in done for call in calls)
          and all(w.lower() in words['user']
                  for w in (*demand.about, *demand.answers))
          and all(fact.lower() in words['assistant'] for fact in demand.tell))
