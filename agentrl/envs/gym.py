"""Any environment behind `reset` and `step`, for a training loop of your own.

  env = env_load.load('orders')  # or 'tau2:telecom', or your own domain
  gym = gym_lib.Gym(env, tasks, user)  # user(task, messages) -> types.Message
  for _ in range(episodes):
    _, info = gym.reset()
    over = False
    while not over:
      action = agent(info['messages'], info['tools'])  # as to any chat model
      _, reward, terminated, truncated, info = gym.step(action)
      over = terminated or truncated
    learn(info['messages'], reward, info['trainable'])

Rules, prompts and verdicts are those of `rollout.play`. The interface is that
of `gymnasium.Env`, which need not be installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import random
from typing import Any

from agentrl import jsons
from agentrl import resolve
from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib
from agentrl.envs import outcomes
from agentrl.envs import reward as reward_lib

User = Callable[[types.Task, list[types.Message]], types.Message]
Action = str | types.Message | Sequence[types.ToolCall | Mapping[str, Any]]
Observation = list[dict[str, Any]]
Info = dict[str, Any]
SIDES = ('assistant', 'user')
TRUNCATIONS = ('max_steps', 'too_many_errors')  # reasons of `dialogue.End`


class Gym:
  """Plays one dialogue at a time; several may share an environment.

  An observation is a list of the messages that are new to the learner, in
  OpenAI chat format; the system prompt stands in `info` alone. `info` has

    task_id: the task that is played;
    system: text of the learner's system prompt, without schemas of tools;
    tools: schemas that `Env.prompt` shows the learner, [] if it shows none;
    messages: all messages that the learner has seen or sent, its system
      prompt first;

  and at the end

    ended: a reason of `dialogue.End`;
    outcome, score, clauses, note: the verdict;
    trainable: False where the verdict says nothing about the agent (a fault of
      the user, a broken checker), so that it must not be trained on;
    episode: the `types.Episode`, with the messages of both sides.

  The reward is the score's at the end and 0 before.

  Args:
    env: shared, and never changed.
    tasks: `reset` chooses from these; ids must differ.
    user: speaks for the other side: a function of the task and of all messages
      that side has seen and sent, in its own view (as
      `rollout.policy.ScriptPolicy`); None in solo mode, where there is no
      other side.
    limits: an end by these is a truncation.
    side: side of the learner; if it is `user`, then `user` speaks for the
      agent.

  Raises:
    ValueError: no task, two of one id, or no such side.
  """

  metadata: Mapping[str, Any] = {}
  render_mode = spec = action_space = observation_space = None

  def __init__(self, env: env_lib.Env, tasks: Sequence[types.Task],
               user: User | None, *,
               limits: dialogue.Limits = dialogue.Limits(),
               side: types.Side = 'assistant'):
    if side not in SIDES:
      raise ValueError(f'There is no side {side!r}.'
                       + resolve.hint(side, SIDES))
    self._tasks = {task.id: task for task in tasks}
    if not tasks or len(self._tasks) < len(tasks):
      raise ValueError(f'Pass tasks of different ids, got {len(tasks)} with '
                       f'{len(self._tasks)} ids.')
    self._env, self._user = env, user
    self._limits, self._side = limits, side
    self._random = random.Random()
    self._dialogue: _LearnerDialogue | None = None
    self._end_returned = False  # by a step; its dialogue is over

  def reset(self, *, seed: int | None = None,
            options: Mapping[str, Any] | None = None
           ) -> tuple[Observation, Info]:
    """Starts a dialogue, and plays until the learner must speak.

    If the other side ends it before that, `info` says so, and the first step
    returns that end whatever its action.

    Args:
      seed: seeds the choice of tasks, from now on.
      options: {'task_id': ...} for one task; else one is drawn.

    Returns:
      observation, info.

    Raises:
      ValueError: unknown option or task, no function that speaks for the other
        side, or the learner is a user in solo mode.
      env.ToolBroken: see `World.execute`. After this, and after anything that
        `user` raises, no dialogue is under way.
    """
    if seed is not None:
      self._random = random.Random(seed)
    self._dialogue, self._end_returned = None, False
    started = _LearnerDialogue(
        self._env, self._choose_task(options or {}), self._user,
        limits=self._limits, side=self._side)
    observation = started.play(None)
    self._dialogue = started
    return observation, started.info()

  def step(self, action: Action
          ) -> tuple[Observation, float, bool, bool, Info]:
    """Plays the learner's turn and all others until its next.

    Args:
      action: a text, a list of tool calls, or both as a `types.Message`. An
        empty one ends the dialogue as the learner's error.

    Returns:
      observation, reward, terminated, truncated, info.

    Raises:
      ValueError: no dialogue is under way, or `action` is of another type; the
        latter leaves the dialogue as it was.
      env.ToolBroken: see `reset`.
    """
    if self._dialogue is None:
      raise ValueError('No dialogue is under way: call reset() first.')
    if self._end_returned:
      ended = self._dialogue.episode.ended
      raise ValueError(f'The dialogue is over ({ended}): call reset() first.')
    message = _message(action, self._side)
    current, self._dialogue = self._dialogue, None  # if playing raises
    observation = [] if current.episode else current.play(message)
    self._dialogue = current
    self._end_returned = current.episode is not None
    if not current.episode:
      return observation, 0.0, False, False, current.info()
    truncated = current.episode.ended in TRUNCATIONS
    return (observation, current.episode.reward, not truncated, truncated,
            current.info())

  def close(self) -> None:
    """Drops the dialogue under way."""
    self._dialogue = None

  @property
  def unwrapped(self) -> Gym:
    return self

  def _choose_task(self, options: Mapping[str, Any]) -> types.Task:
    for name in options:
      if name != 'task_id':
        raise ValueError(f'reset() has no option {name!r}, only \'task_id\'.')
    if 'task_id' not in options:
      return self._random.choice(list(self._tasks.values()))
    name = options['task_id']
    if name not in self._tasks:
      raise ValueError(f'There is no task {name!r} here.'
                       + resolve.hint(name, self._tasks))
    return self._tasks[name]


class _LearnerDialogue:
  """A dialogue in the view of the learner.

  Attributes:
    episode: None until the dialogue is over.
  """

  def __init__(self, env: env_lib.Env, task: types.Task, user: User | None, *,
               limits: dialogue.Limits, side: types.Side):
    self.episode: types.Episode | None = None
    self._env, self._task = env, task
    self._user, self._side = user, side
    self._world = env.start(task)
    solo = self._world.solo
    if not solo and user is None:
      raise ValueError(f'The other side of {task.id} needs a speaker: pass a '
                       'function as `user` (None is for solo mode).')
    if solo and side == 'user':
      raise ValueError(f'Task {task.id} is played in solo mode, so there is '
                       "no user to learn: set side='assistant'.")
    self._prompts = {s: env.prompt(s, task) for s in SIDES}
    self._seen: dict[types.Side, list[types.Message]] = {s: [] for s in SIDES}
    self._index = 0  # of the learner's next message
    rules = dialogue.play_solo if solo else dialogue.play
    self._game = rules(self._world, system=self._prompts, limits=limits)

  def play(self, reply: types.Message | None) -> Observation:
    """Plays until the learner's next turn; returns the messages new to it.

    Args:
      reply: the learner's message; None to start.
    """
    seen = self._seen[self._side]
    if reply is not None:
      reply = dialogue.seen_from(
          dialogue.placed(reply, self._side, self._index), self._side)
      seen.append(reply)
    before = len(seen)
    ask = self._send(reply)
    while ask and ask.side != self._side:
      ask = self._send(self._answer(ask))
    if ask:
      seen += [m for _, m in ask.new]
      self._index = ask.index
    else:  # the last messages came with no `Ask`
      seen[:] = [m for _, m in dialogue.view(
          self.episode.messages, self._side, self._prompts[self._side])]
    return [jsons.to_openai(m) for m in seen[before:] if m.role != 'system']

  def _send(self, reply: types.Message | None) -> dialogue.Ask | None:
    """Returns the next turn to play; None if the dialogue is over."""
    try:
      return self._game.send(reply)
    except StopIteration as stop:
      end = stop.value
    verdict = reward_lib.judge(self._env, self._task, self._world, end)
    self.episode = types.Episode(
        self._task.id, 0, end.messages, end.reason, verdict.outcome,
        verdict.score, end.steps, note=verdict.note,
        user_fault=verdict.user_fault)
    return None

  def _answer(self, ask: dialogue.Ask) -> types.Message:
    """Returns the reply of the other side."""
    seen = self._seen[ask.side]
    seen += [m for _, m in ask.new]
    reply = self._user(self._task, list(seen))
    if not isinstance(reply, types.Message):
      raise ValueError('`user` must return a types.Message, got '
                       f'{type(reply).__name__}.')
    seen.append(reply)
    return reply

  def info(self) -> Info:
    """Returns the `info` of `Gym`."""
    prompt = self._prompts[self._side]
    info = dict(
        task_id=self._task.id, system=prompt.content, tools=list(prompt.tools),
        messages=[jsons.to_openai(m) for m in self._seen[self._side]])
    if self.episode:
      outcome, score = self.episode.outcome, self.episode.score
      info.update(
          ended=self.episode.ended, outcome=outcome, score=score,
          clauses=dict(score.clauses), note=self.episode.note,
          trainable=outcomes.RULES[outcome].gradient, episode=self.episode)
    return info


def _message(action: Action, side: types.Side) -> types.Message:
  """Returns an action as a message.

  Raises:
    ValueError: it is of another type.
  """
  if isinstance(action, str):
    return types.Message('assistant', action)
  if isinstance(action, (list, tuple)):
    return types.Message('assistant', tool_calls=tuple(map(_call, action)))
  if not isinstance(action, types.Message):
    raise ValueError('An action is a text, a types.Message or a list of tool '
                     f'calls, got {type(action).__name__}.')
  if action.role not in ('assistant', side):
    raise ValueError('An action is a message of role \'assistant\', got '
                     f'{action.role!r}.')
  return action


def _call(call: types.ToolCall | Mapping[str, Any]) -> types.ToolCall:
  if isinstance(call, types.ToolCall):
    return call
  if (isinstance(call, Mapping) and set(call) == {'name', 'arguments'}
      and isinstance(call['arguments'], Mapping)):
    return types.ToolCall(call['name'], call['arguments'])
  raise ValueError("A tool call is a types.ToolCall or {'name': ..., "
                   f"'arguments': {{...}}}}, got {str(call)[:80]!r}.")
