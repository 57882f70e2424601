"""Functions of one's own in Python, run by a Futurity server in processes that stay.

`futurity-worker MODULE…` is what the server's file names as a worker. What it announces are the functions with `@function`.
"""

from futurity.worker.job import CancelRequested, CurrentJob, current_job
from futurity.worker.registry import function

__all__ = ["CancelRequested", "CurrentJob", "current_job", "function"]
