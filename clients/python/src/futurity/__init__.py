"""`concurrent.futures` whose jobs are kept on disk by a Futurity server."""

from futurity.client import Client
from futurity.errors import (
    AccessDenied,
    FuturityError,
    Interrupted,
    Problem,
    RemoteError,
    RunTimeout,
    ServerLost,
    StartTimeout,
    TotalTimeout,
    ValueTooLarge,
    WorkerLost,
)
from futurity.http import VERSION
from futurity.models import Job, Progress, Retry

__version__ = VERSION

__all__ = [
    "AccessDenied",
    "Client",
    "FuturityError",
    "Interrupted",
    "Job",
    "Problem",
    "Progress",
    "RemoteError",
    "Retry",
    "RunTimeout",
    "ServerLost",
    "StartTimeout",
    "TotalTimeout",
    "ValueTooLarge",
    "WorkerLost",
    "__version__",
]
