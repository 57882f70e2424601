"""`Client`: one method for each operation of the HTTP contract.

Nothing here is unpickled, started in the background or kept: each call is a request, or a stream that is
resumed where it was cut.
"""

from futurity.client.batches import Batches
from futurity.client.callbacks import Callbacks
from futurity.client.jobs import Jobs
from futurity.client.queues import Queues
from futurity.client.server import OfServer
from futurity.client.streams import Streams

__all__ = ["OPERATIONS", "Client"]


class Client(Jobs, Streams, Batches, Callbacks, Queues, OfServer):
    """A typed client of a Futurity server. Any thread may use it.

    Every method may raise `Problem` when the server refuses, `AccessDenied` when the key does not allow it, and
    `ServerLost` when there is no answer.
    """


# The operation of openapi.yaml, and the method that is it.
OPERATIONS = {
    "submitJob": "submit",
    "submitLines": "submit_many",
    "listJobs": "jobs",
    "waitForJobs": "wait",
    "jobsAsCompleted": "as_completed",
    "cancelJobs": "cancel_many",
    "getJob": "get",
    "headJob": "state",
    "deleteJob": "forget",
    "setResult": "complete",
    "getResult": "result",
    "setException": "fail",
    "getException": "exception",
    "cancelJob": "cancel",
    "retryJob": "retry",
    "addCallback": "add_callback",
    "listCallbacks": "callbacks",
    "getLog": "log",
    "followJob": "follow",
    "submitBatch": "submit_batch",
    "listBatches": "batches",
    "getBatch": "batch",
    "batchResults": "batch_results",
    "cancelBatch": "cancel_batch",
    "addBatchCallback": "add_batch_callback",
    "listBatchCallbacks": "batch_callbacks",
    "mapLines": "map",
    "listAllCallbacks": "all_callbacks",
    "redeliverCallbacks": "redeliver_many",
    "deleteCallback": "remove_callback",
    "redeliverCallback": "redeliver",
    "followEvents": "events",
    "listFunctions": "functions",
    "getFunction": "function",
    "listQueues": "queues",
    "getQueue": "queue",
    "putQueue": "set_queue",
    "pauseQueue": "pause",
    "resumeQueue": "resume",
    "shutDownQueue": "shut_down",
    "restartWorker": "restart_worker",
    "getServer": "server",
    "getLiveness": "is_alive",
    "getReadiness": "readiness",
    "getContract": "contract",
    "explainProblem": "explain",
}
