"""A simulation of how prompts change what an LLM gets wrong.

Used by `procedural.Procedural(heeds=True)`, so that the closed loop that
rewrites prompts can be tried, and measured, without an LLM. Each mistake of the
stand-in is a habit, and each habit has a lesson: an instruction that switches
it off wherever a prompt contains it. Some instructions sound well and do harm.
The stand-in's critic goes by the kinds of rejections and problems that the
engine reports of a sample, and by words of the stand-in's own checkers and
judge; these are ambiguous, as signs of mistakes are.
"""

from __future__ import annotations

from collections.abc import Collection
import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Habit:
  """A mistake that an instruction switches off.

  Attributes:
    role: who makes it.
    mistake: its name.
    kinds: kinds of rejections and problems of samples that may have it.
    words: words in the details of samples that may have it.
    lesson: the instruction; case and line breaks do not matter.
  """

  role: str
  mistake: str
  kinds: tuple[str, ...]
  words: tuple[str, ...]
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


# Words of the stand-in's own checkers and judge, which its critic looks for.
NOTHING_ELSE = 'nothing else'
TOLD = 'told:'
BEFORE = 'before'
AGREED = 'was agreed'
DONE = 'was done'
MISSING = 'is missing'
REFUSED = 'was refused'
MADE_UP = 'is made up'
UNTOLD = 'was not told'

# Kinds of problems by which the engine turns down a wrong checker.
PASSES_MUTANT = ('deleted', 'doubled', 'argument changed', 'unasked',
                 'left out', 'untold', 'forbidden', 'unwanted')
PASSES_FLOOR, GOLD_FAILS = 'passes to', 'gold run fails'
BREAKS = 'checker breaks'

HABITS = (
    Habit('intent', 'vague',
          ('wrong entity', 'missing detail', 'missing demand'), (),
          'Copy every name, number and date of a draft into its demand.'),
    Habit('intent', 'contradiction', ('contradiction',), (),
          'No demand may take back another one.'),
    Habit('checker', 'omitted', (*PASSES_MUTANT, PASSES_FLOOR), (),
          'Every change, told fact, order, confirmation and count below gets '
          'a clause of its own.'),
    Habit('checker', 'wrong_value', (*PASSES_MUTANT, GOLD_FAILS, BREAKS), (),
          'Copy values letter by letter.'),
    Habit('checker', 'too_strict', (GOLD_FAILS,), (),
          'Never test how something was worded.'),
    Habit('agent', 'wrong_argument', ('agent fails',),
          (MISSING, REFUSED, NOTHING_ELSE),
          'Read the arguments of a call from the script before you make it.'),
    Habit('agent', 'skipped_confirmation', ('agent fails',), (AGREED,),
          'Name each change and wait for the yes before you make it.'),
    Habit('agent', 'forgotten', (), (MISSING, UNTOLD),
          'Go through the demands at the end: none may be left.'),
    Habit('agent', 'doubled', (), (DONE, REFUSED),
          'Make no call twice.'),
    Habit('agent', 'wrong_fact', (), (MADE_UP, UNTOLD, TOLD),
          'Say only what a tool or the policy has told you.'),
    Habit('agent', 'refusal', ('agent fails',), (MISSING, BEFORE),
          'Refuse nothing that the policy allows.'),
    Habit('user', 'unsaid', ('unsaid',), (),
          'Bring up every demand of the scenario.'),
    Habit('user', 'made_up', ('made up',), (),
          'Name no order, person or number that the scenario lacks.'),
    Habit('user', 'early', ('unsaid',), (),
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


def lessons(role: str, kinds: Collection[str], text: str,
            known: Collection[str]) -> list[str]:
  """Returns the lessons that the evidence speaks for.

  Args:
    role: role that the prompt is for.
    kinds: kinds of rejections and problems of its samples.
    text: details of its samples.
    known: mistakes against which the prompt has its lesson already.
  """
  return [h.lesson for h in HABITS if h.role == role
          and h.mistake not in known
          and (not set(h.kinds).isdisjoint(kinds)
               or any(words in text for words in h.words))]


def role_of(worker: str, kind: str) -> str:
  """Returns the role whose prompt a rejection speaks against."""
  if worker in ('UserIntent', 'TaskValidation'):
    return 'intent'
  if worker in ('ValidationFunction', 'Certificate'):
    return 'checker'
  if kind == 'checker disagrees with judge':
    return 'checker'
  return 'user' if kind == 'user fault' else 'agent'
