"""Tasks and dialogues written by an LLM behind an OpenAI-compatible server:

  pip install -e .[llm]
  export OPENAI_API_KEY=... OPENAI_BASE_URL=http://localhost:8000/v1
  python scripts/synthesize.py --workdir=runs/mine/data \
    --config=configs/eigendata/openai.py:model=<name> \
    --config.llm_account.tokens=2000000

`domain=` instead of orders and router: `lamps`, a folder of your own, with or
without tasks.py; or `tau2:airline`, `tau2:retail`, `tau2:telecom`: the model
thinks of new tasks over the benchmark's tools and databases, which keep away
from the customers (telecom: from the faults) of its test tasks.

`judge=<name>` has another model judge. `student=<name>`, with
`--config.evolve.rounds=16`, has another one play the tasks of each audit by the
domain's own prompt: which share of them it solves is how hard a round's are.
`weights=<folder>` in its place is an agent of yours, in this process; sizes:
--config.llm_roles.Student.length=8192.

Stopped by Ctrl-C, an error or a server that is gone, a run goes on when it is
started again in its folder; earlier answers are in `llm_account.cache`.
Its budget is that of all starts together, and may be raised for the next; when
it is used up after some tasks were made, the run is over, and goes on in a new
folder from the cache, for nothing.
"""

import ml_collections

from configs import common
from configs.eigendata import builtin
from configs.eigendata import evolving


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  arg = common.parse_arg(arg, model='', judge='', student='', weights='',
                         domain='')
  c = builtin.get_config()
  c.env.prompt = 'full'
  c.num_train, c.num_test, c.max_tries = 100, 20, 10
  if arg.domain:
    c.domains = (arg.domain,)
  if arg.domain.startswith('tau2:'):
    c.env.judged_on, c.num_test = 'test', 0  # the benchmark has its own tests
  c.runner, c.workers = 'agentrl.eigendata.scale.runners:threads', 16
  c.shard_size = 5
  c.monitor = dict(window=20, floor=0.25)  # a shard makes 50 samples at most
  c.llm = 'agentrl.llm.openai.chat:OpenAIChat'
  c.llm_kw = dict(
      model=arg.model, key='OPENAI_API_KEY', url='OPENAI_BASE_URL',
      sampling=dict(max_tokens=2048, temperature=1.0, form='json_schema',
                    extra={}, max_tokens_field='max_tokens'),
      limits=dict(concurrency=16, requests_per_minute=0.0,
                  tokens_per_minute=0.0, timeout_s=120.0, max_wait_s=900.0))
  c.llm_roles = {
      stage: dict(model=model) for stage, model in (
          ('TrajectoryValidation', arg.judge), ('Student', arg.student))
      if model}
  if arg.student and arg.weights:
    raise ValueError('There is one student: give student=<name of an LLM>, or '
                     'weights=<folder>.')
  if arg.weights:
    c.llm_roles.Student = evolving.student(arg.weights, length=4096)
  # Prices of your provider in dollars a million tokens (read, written, read
  # from its cache): prices=(('a-model', 1.0, 4.0, 0.1),). With it, dollars=5.0
  # is a hard stop.
  c.llm_account.cache = 'runs/llm_cache'
  return c
