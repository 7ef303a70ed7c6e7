"""Any of our environments behind `reset` and `step`, for a loop of your own.

  env = env_load.load('orders')  # or 'tau2:telecom', or your own domain
  gym = gym_lib.Gym(env, tasks, user)  # user(task, what it has seen) -> Message
  for _ in range(episodes):
    _, info = gym.reset()
    over = False
    while not over:
      action = agent(info['messages'], info['tools'])  # as to any chat model
      _, reward, terminated, truncated, info = gym.step(action)
      over = terminated or truncated
    learn(info['messages'], reward, info['trainable'])

The rules and the verdict are those of `rollout.play`. The shape is that of
`gymnasium.Env`, which is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import random
from typing import Any

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
LIMITS = ('max_steps', 'too_many_errors')


class Gym:
  """One dialogue at a time; any number of these may share an environment.

  An observation is all that is new to the learner, as a list of OpenAI chat
  messages; the system prompt stands in `info` alone. `info` has

    task_id, system, tools: what is played, prompt and schemas of the learner;
    messages: all the learner has seen or said, its system prompt first;

  and at the end

    ended: a reason of `dialogue.End`;
    outcome, score, clauses, note: the verdict;
    trainable: False where the verdict does not speak of the agent (the user's
      fault, a checker that broke), so that it must not be learnt from;
    episode: the `types.Episode`, with the messages of both sides.

  The reward is that of the score at the end and 0 before.

  Args:
    env: shared, and never changed.
    tasks: what `reset` chooses from; ids must differ.
    user: speaks for the other side: a function of the task and of all that it
      has seen and said in its own view (as `rollout.policy.ScriptPolicy`);
      None in solo mode, where there is no other side.
    limits: on steps and errors; an end by these is a truncation.
    side: the learner's; if it is `user`, then `user` speaks for the agent.

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
    self._talk: _Talk | None = None
    self._told = False  # a step has returned the end

  def reset(self, *, seed: int | None = None,
            options: Mapping[str, Any] | None = None
           ) -> tuple[Observation, Info]:
    """Starts a dialogue, and plays until the learner must speak.

    If the other side ends it before that, `info` says so, and the first step
    returns that end whatever its action.

    Args:
      seed: of the choice of tasks, from now on.
      options: {'task_id': ...} for one task; else one is drawn.

    Raises:
      ValueError: unknown option or task, or nobody to speak for the other
        side.
      env.ToolBroken: see `World.execute`. This, and whatever `user` raises,
        leaves no dialogue.
    """
    if seed is not None:
      self._random = random.Random(seed)
    self._talk, self._told = None, False
    talk = _Talk(self._env, self._choose(options or {}), self._user,
                 limits=self._limits, side=self._side)
    observation = talk.play(None)
    self._talk = talk
    return observation, talk.info()

  def step(self, action: Action
          ) -> tuple[Observation, float, bool, bool, Info]:
    """The learner's turn, and all until its next.

    Args:
      action: a text, a list of tool calls, or both as a `types.Message`. An
        empty one ends the dialogue as the learner's error.

    Returns:
      observation, reward, terminated, truncated, info.

    Raises:
      ValueError: no dialogue is under way, or something else for an action;
        the latter leaves the dialogue as it was.
      env.ToolBroken: see `reset`.
    """
    if self._talk is None:
      raise ValueError('No dialogue is under way: call reset() first.')
    if self._told:
      raise ValueError(f'The dialogue is over ({self._talk.episode.ended}): '
                       'call reset() first.')
    message = _message(action, self._side)
    talk, self._talk = self._talk, None
    observation = [] if talk.episode else talk.play(message)
    self._talk, self._told = talk, talk.episode is not None
    if not talk.episode:
      return observation, 0.0, False, False, talk.info()
    truncated = talk.episode.ended in LIMITS
    return (observation, talk.episode.reward, not truncated, truncated,
            talk.info())

  def close(self) -> None:
    """Drops the dialogue under way."""
    self._talk = None

  @property
  def unwrapped(self) -> Gym:
    return self

  def _choose(self, options: Mapping[str, Any]) -> types.Task:
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


class _Talk:
  """A dialogue as the learner meets it.

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
      raise ValueError(f'Nobody speaks for the other side of {task.id}: pass '
                       'a function as `user` (None is for solo mode).')
    if solo and side == 'user':
      raise ValueError(f'Task {task.id} is played in solo mode, so there is '
                       "no user to learn: set side='assistant'.")
    self._system = {s: types.Message('system', env.system(s, task))
                    for s in SIDES}
    self._seen: dict[types.Side, list[types.Message]] = {s: [] for s in SIDES}
    self._index = 0  # of the learner's next message
    rules = dialogue.play_solo if solo else dialogue.play
    self._game = rules(self._world, system=self._system, limits=limits)

  def play(self, reply: types.Message | None) -> Observation:
    """Plays on from the learner's reply; what is new to it."""
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
    else:  # of the last messages nobody was told
      seen[:] = [m for _, m in dialogue.view(
          self.episode.messages, self._side, self._system[self._side])]
    return [types.to_openai(m) for m in seen[before:] if m.role != 'system']

  def _send(self, reply: types.Message | None) -> dialogue.Ask | None:
    """Who must speak next; None if it is over."""
    try:
      return self._game.send(reply)
    except StopIteration as stop:
      end = stop.value
    outcome, score, note = reward_lib.judge(
        self._env, self._task, self._world, end)
    self.episode = types.Episode(
        self._task.id, 0, end.messages, end.reason, outcome, score, end.steps,
        note=note)
    return None

  def _answer(self, ask: dialogue.Ask) -> types.Message:
    """What the other side says."""
    seen = self._seen[ask.side]
    seen += [m for _, m in ask.new]
    reply = self._user(self._task, list(seen))
    if not isinstance(reply, types.Message):
      raise ValueError('`user` must return a types.Message, got '
                       f'{type(reply).__name__}.')
    seen.append(reply)
    return reply

  def info(self) -> Info:
    info = dict(
        task_id=self._task.id, system=self._system[self._side].content,
        tools=list(self._env.tools(self._side, self._task)),
        messages=[types.to_openai(m) for m in self._seen[self._side]])
    if self.episode:
      outcome, score = self.episode.outcome, self.episode.score
      info.update(
          ended=self.episode.ended, outcome=outcome, score=score,
          clauses=dict(score.clauses), note=self.episode.note,
          trainable=outcomes.RULES[outcome].gradient, episode=self.episode)
    return info


def _message(action: Action, side: types.Side) -> types.Message:
  """An action as a message.

  Raises:
    ValueError: it is something else.
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
