"""The backend of joblib: `register()`, then `joblib.parallel_config(backend="futurity", executor=executor)`.

scikit-learn and whatever else uses joblib runs on a server with it. Needs `joblib`.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUntypedBaseClass=false, reportIncompatibleMethodOverride=false, reportPrivateUsage=false

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from joblib import register_parallel_backend
from joblib.parallel import AutoBatchingMixin, ParallelBackendBase

from futurity.local import local

if TYPE_CHECKING:
    from collections.abc import Callable

    from futurity.executor import Executor
    from futurity.future import RemoteFuture

NAME = "futurity"
# The executor of those that name none: one for the process, as a server takes half a second to start.
_own: list[Executor] = []


def register() -> None:
    """Make the backend known to joblib, under the name `futurity`."""
    register_parallel_backend(NAME, FuturityBackend)


class FuturityBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc] # joblib has no types
    """Runs batches of joblib as jobs of an executor."""

    supports_retrieve_callback = True
    supports_inner_max_num_threads = False
    uses_threads = False
    supports_sharedmem = False
    default_n_jobs = -1

    def __init__(self, executor: Executor | None = None, *, nesting_level: int | None = None, **more: Any) -> None:
        """Submit to this executor; without one to a `futurity.local()` of this process, which ends with it."""
        super().__init__(nesting_level=nesting_level, **more)
        self._executor = executor
        self._pending: weakref.WeakSet[RemoteFuture[Any]] = weakref.WeakSet()

    @property
    def executor(self) -> Executor:
        """Where batches are submitted."""
        if self._executor is None:
            if not _own:
                _own.append(local())
            self._executor = _own[0]
        return self._executor

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Say how many batches run at once: `n_jobs`, or what the executor's processes make of a negative one."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        return n_jobs if n_jobs > 0 else max(self.executor._max_workers + 1 + n_jobs, 1)  # noqa: SLF001 - as Dask looks

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], None] | None = None) -> RemoteFuture[Any]:
        """Submit a batch; the callback dispatches the next."""
        future = self.executor.submit(func)
        self._pending.add(future)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: RemoteFuture[Any]) -> Any:
        """Give what a batch came to, within its callback."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: FBT001, FBT002 - as joblib's
        """Cancel what has not started, in one request: a batch has failed, or nobody wants the rest."""
        del ensure_ready
        self.executor.engine.cancels.many([future for future in self._pending if not future.done()])
