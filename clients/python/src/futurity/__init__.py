"""`concurrent.futures` whose jobs are kept on disk by a Futurity server."""

from concurrent.futures import as_completed, wait

from futurity.aio import AsyncExecutor, AsyncRemoteFuture
from futurity.client import Client
from futurity.errors import (
    AccessDenied,
    CallNotLoaded,
    FuturityError,
    InitializerFailed,
    Interrupted,
    NestedWaitWarning,
    Problem,
    RemoteError,
    ResultNotLoaded,
    RunTimeout,
    ServerLost,
    StartTimeout,
    TotalTimeout,
    ValueTooLarge,
    WorkerLost,
)
from futurity.executor import Executor
from futurity.future import RemoteFuture
from futurity.http import VERSION
from futurity.local import local
from futurity.models import Job, Progress, Retry

__version__ = VERSION

__all__ = [
    "AccessDenied",
    "AsyncExecutor",
    "AsyncRemoteFuture",
    "CallNotLoaded",
    "Client",
    "Executor",
    "FuturityError",
    "InitializerFailed",
    "Interrupted",
    "Job",
    "NestedWaitWarning",
    "Problem",
    "Progress",
    "RemoteError",
    "RemoteFuture",
    "ResultNotLoaded",
    "Retry",
    "RunTimeout",
    "ServerLost",
    "StartTimeout",
    "TotalTimeout",
    "ValueTooLarge",
    "WorkerLost",
    "__version__",
    "as_completed",
    "local",
    "wait",
]
