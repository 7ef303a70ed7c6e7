"""A simulation of how prompts change what an LLM gets wrong.

Used by `procedural.Procedural(heeds=True)`, so that the closed loop that
rewrites prompts can be tried, and measured, without an LLM. Each mistake of the
stand-in is a habit, and each habit has a lesson: an instruction that switches
it off wherever a prompt contains it. Some instructions sound well and do harm.
The stand-in's critic goes by the signs that a mistake leaves in what the engine
says of a sample; these are ambiguous, as signs are.
"""

from __future__ import annotations

from collections.abc import Collection
import dataclasses
import re


@dataclasses.dataclass(frozen=True, slots=True)
class Habit:
  """A mistake that an instruction switches off.

  Attributes:
    role: who makes it.
    mistake: its name.
    signs: pattern of what the engine says of samples that may have it.
    lesson: the instruction; case and line breaks do not matter.
  """

  role: str
  mistake: str
  signs: str
  lesson: str


@dataclasses.dataclass(frozen=True, slots=True)
class Slip:
  """Whether an answer of the stand-in gets a mistake.

  Attributes:
    due: one is drawn.
    avoided: those that instructions switch off: drawn, they are not made.
  """

  due: bool = False
  avoided: frozenset[str] = frozenset()

  def makes(self, mistake: str) -> bool:
    """True if a mistake that was drawn is made."""
    return self.due and mistake not in self.avoided


HABITS = (
    Habit('intent', 'vague', 'wrong entity|missing detail|missing demand',
          'Copy every name, number and date of a draft into its demand.'),
    Habit('intent', 'contradiction', 'contradiction',
          'No demand may take back another one.'),
    Habit('checker', 'omitted', 'passes with|passes to',
          'Every change, told fact, order, confirmation and count below gets '
          'a clause of its own.'),
    Habit('checker', 'wrong_value', 'gold run fails|passes with|breaks',
          'Copy values letter by letter.'),
    Habit('checker', 'too_strict', 'gold run fails',
          'Never test how something was worded.'),
    Habit('agent', 'wrong_argument',
          'is missing|was refused|nothing else|agent fails',
          'Read the arguments of a call from the script before you make it.'),
    Habit('agent', 'skipped_confirmation', 'was agreed|agent fails',
          'Name each change and wait for the yes before you make it.'),
    Habit('agent', 'forgotten', 'is missing|was not told',
          'Go through the demands at the end: none may be left.'),
    Habit('agent', 'doubled', r'was done \dx|was refused',
          'Make no call twice.'),
    Habit('agent', 'wrong_fact', 'is made up|was not told|told:',
          'Say only what a tool or the policy has told you.'),
    Habit('agent', 'refusal', 'is missing|agent fails|before',
          'Refuse nothing that the policy allows.'),
    Habit('user', 'unsaid', 'never mentioned|is missing',
          'Bring up every demand of the scenario.'),
    Habit('user', 'made_up', 'made up',
          'Name no order, person or number that the scenario lacks.'),
    Habit('user', 'early', 'never mentioned|is missing|was not told',
          'Stay until the last demand is settled.'),
)
HARMFUL = ('Be quick: leave out whatever seems needless.',
           'Surprise us: vary names, numbers and steps.')
HARM = 0.25  # added to the rate of a role whose prompt has such advice


def avoided(instructions: str, role: str) -> frozenset[str]:
  """Mistakes of a role that its instructions switch off."""
  text = ' '.join(instructions.lower().split())
  return frozenset(h.mistake for h in HABITS
                   if h.role == role and h.lesson.lower() in text)


def harm(instructions: str) -> float:
  """What harmful advice adds to the rate of mistakes."""
  text = ' '.join(instructions.split())
  return HARM * any(advice in text for advice in HARMFUL)


def lessons(role: str, signs: str, known: Collection[str]) -> list[str]:
  """Lessons that signs speak for, those first that few signs stand for.

  Args:
    role: whose prompt it is.
    signs: what was said of its samples.
    known: mistakes whose lesson the prompt has.
  """
  return [h.lesson for h in HABITS if h.role == role
          and h.mistake not in known and re.search(h.signs, signs)]


def role_of(worker: str, reason: str, detail: str) -> str:
  """Whose prompt a rejection speaks against."""
  if worker in ('UserIntent', 'TaskValidation'):
    return 'intent'
  if worker in ('ValidationFunction', 'Certificate'):
    return 'checker'
  if reason == 'checker disagrees with judge':
    return 'checker'
  return 'user' if reason == 'user fault' or 'The user' in detail else 'agent'
