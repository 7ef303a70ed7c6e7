"""Who makes the shards: processes, threads, or workers of Apache Beam.

Each `with runner(workers, **options) as run_all:` gives a function
`run_all(job, items, done)`, which calls `job(item)` for each item, in any
order, and `done()` after each. Jobs leave files behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
import contextlib
import multiprocessing
import signal
from typing import Any

from agentrl import resolve

Job = Callable[[Any], None]
RunAll = Callable[[Job, Sequence[Any], Callable[[], Any]], None]


@contextlib.contextmanager
def processes(workers: int) -> Iterator[RunAll]:
  """On this machine; in this process if there is one worker only."""
  def alone(job: Job, items: Sequence[Any], done: Callable[[], Any]) -> None:
    for item in items:
      job(item)
      done()
  if workers <= 1:
    yield alone
    return
  # The processes inherit that Ctrl-C is not for them.
  ours = signal.signal(signal.SIGINT, signal.SIG_IGN)
  with multiprocessing.get_context('spawn').Pool(workers) as pool:
    signal.signal(signal.SIGINT, ours)
    def run_all(job: Job, items: Sequence[Any],
                done: Callable[[], Any]) -> None:
      for _ in pool.imap_unordered(job, items):
        done()
    yield run_all


@contextlib.contextmanager
def threads(workers: int) -> Iterator[RunAll]:
  """In this process, for an LLM that answers from elsewhere."""
  with futures.ThreadPoolExecutor(workers) as pool:
    def run_all(job: Job, items: Sequence[Any],
                done: Callable[[], Any]) -> None:
      waiting = [pool.submit(job, item) for item in items]
      try:
        for future in futures.as_completed(waiting):
          future.result()
          done()
      except BaseException:
        for future in waiting:
          future.cancel()
        raise
    yield run_all


@contextlib.contextmanager
def beam(workers: int, options: Sequence[str] = ()) -> Iterator[RunAll]:
  """By Apache Beam (extra `beam`), whose workers must see the folder.

  Args:
    workers: processes of the local runner; others have options of their own.
    options: of Beam, such as --runner=FlinkRunner; () for the local runner.

  Raises:
    ValueError: the extra is not installed.
  """
  module = resolve.extra('apache_beam', 'beam')
  given = list(options) or [
      '--runner=DirectRunner', f'--direct_num_workers={workers}',
      '--direct_running_mode=multi_processing']
  chosen = resolve.extra('apache_beam.options.pipeline_options',
                         'beam').PipelineOptions(given)
  def run_all(job: Job, items: Sequence[Any],
              done: Callable[[], Any]) -> None:
    with module.Pipeline(options=chosen) as pipeline:
      _ = (pipeline | module.Create(list(items)) | module.Reshuffle()
           | module.Map(job))
    for _ in items:
      done()  # Beam does not say earlier
  yield run_all
