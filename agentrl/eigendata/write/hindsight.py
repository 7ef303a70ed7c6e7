"""Hindsight: a dialogue that did less than its task asks is one of a task that
asks for less.

After "hindsight experience replay" (arXiv:1707.01495): the state that was
reached becomes the goal. Here the goal is cut down to the demands that were met
in full, and the new task has to earn its own certificate; where the user named
more than that, or a policy was broken, it does not.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentrl import types
from agentrl.eigendata.plan import planner
from agentrl.envs import domain


def met(drafts: Sequence[domain.Demand], messages: Sequence[types.Message],
        split: str) -> tuple[domain.Demand, ...]:
  """The demands that a dialogue met, if they make a smaller task.

  Args:
    drafts: what the task was made from.
    messages: the dialogue.
    split: of the plan; a combination held out for the other one is none.

  Returns:
    () if none was met, all were, or the rest is not for this split.
  """
  fine = {m.id for m in messages if m.role == 'tool' and not m.error}
  done = [(c.requestor, c.name, dict(c.arguments))
          for m in messages for c in m.tool_calls if c.id in fine]
  words = {side: ' '.join(m.content or '' for m in messages
                          if m.role == side).lower()
           for side in ('assistant', 'user')}
  found = tuple(d for d in drafts if _met(d, done, words))
  families = [d.family for d in found]
  if len(found) in (0, len(drafts)) or (
      len(found) > 1 and planner.held_out(families) != (split == 'test')):
    return ()
  return found


def _met(demand: domain.Demand, done: Sequence[tuple], words: dict[str, str]
         ) -> bool:
  """Named by the user, carried out to the letter, and reported."""
  calls = [(b.by, b.call, dict(b.arguments)) for b in demand.beats if b.call]
  return (all(call in done for call in calls)
          and all(w.lower() in words['user']
                  for w in (*demand.about, *demand.answers))
          and all(fact.lower() in words['assistant'] for fact in demand.tell))
