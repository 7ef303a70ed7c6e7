"""Runners of a data stage's jobs: processes, threads, or workers of Apache
Beam.

`with runner(context, folder, workers, **options) as run_all:` gives a function
`run_all(job, items, done)`. It calls `job(context, item)` for each item, in any
order, and `done()` after each. Jobs leave files behind. In this process all
jobs share the given context; every other process makes one from the run's
folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
import contextlib
import functools
import multiprocessing
import signal
from typing import Any

from agentrl import resolve
from agentrl.eigendata import context as context_lib

Job = Callable[[context_lib.Context, Any], None]
RunAll = Callable[[Job, Sequence[Any], Callable[[], Any]], None]


@contextlib.contextmanager
def processes(context: context_lib.Context, folder: str, workers: int
              ) -> Iterator[RunAll]:
  """Runs jobs on this machine; in this process if there is one worker only."""
  def alone(job: Job, items: Sequence[Any], done: Callable[[], Any]) -> None:
    for item in items:
      job(context, item)
      done()
  if workers <= 1:
    yield alone
    return
  # Ctrl-C is not for the processes; they inherit that.
  ours = signal.signal(signal.SIGINT, signal.SIG_IGN)
  with multiprocessing.get_context('spawn').Pool(
      workers, _open, (folder,)) as pool:
    signal.signal(signal.SIGINT, ours)
    def run_all(job: Job, items: Sequence[Any],
                done: Callable[[], Any]) -> None:
      for _ in pool.imap_unordered(functools.partial(_call, job), items):
        done()
    yield run_all


_of_this_process: list[context_lib.Context] = []  # in processes of a pool


def _open(folder: str) -> None:
  """Makes the context of a process of the pool."""
  _of_this_process.append(context_lib.of_folder(folder))


def _call(job: Job, item: Any) -> None:
  job(_of_this_process[-1], item)


@contextlib.contextmanager
def threads(context: context_lib.Context, folder: str, workers: int
            ) -> Iterator[RunAll]:
  """Runs jobs in threads of this process, for an LLM on a server."""
  del folder  # all threads share the context
  with futures.ThreadPoolExecutor(workers) as pool:
    def run_all(job: Job, items: Sequence[Any],
                done: Callable[[], Any]) -> None:
      waiting = [pool.submit(job, context, item) for item in items]
      try:
        for future in futures.as_completed(waiting):
          future.result()
          done()
      except BaseException:
        for future in waiting:
          future.cancel()
        raise
    yield run_all


class _InWorker:
  """Calls a job with a context of the Beam worker that it was sent to."""

  def __init__(self, job: Job, folder: str):
    self._job, self._folder = job, folder
    self._context: context_lib.Context | None = None  # made by the worker

  def __call__(self, item: Any) -> None:
    if self._context is None:
      self._context = context_lib.of_folder(self._folder)
    self._job(self._context, item)


@contextlib.contextmanager
def beam(context: context_lib.Context, folder: str, workers: int,
         options: Sequence[str] = ()) -> Iterator[RunAll]:
  """Runs jobs by Apache Beam (extra `beam`), whose workers must see the folder.

  Args:
    context: unused; each worker makes its own.
    folder: folder of the run.
    workers: processes of the local runner; others have options of their own.
    options: options of Beam, such as --runner=FlinkRunner; () for the local
      runner.

  Raises:
    ValueError: the extra is not installed.
  """
  del context
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
           | module.Map(_InWorker(job, folder)))
    for _ in items:
      done()  # Beam does not say earlier
  yield run_all
