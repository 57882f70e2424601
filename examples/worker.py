"""A worker for Futurity in plain Python. Add functions of your own, each with @function."""
import inspect, json, math, os, select, sys, time, traceback

FUNCTIONS, CALL = {}, {"stop": False}
OUT, sys.stdout = sys.stdout, sys.stderr  # what a function prints is a line of its job's log
getattr(sys, "set_int_max_str_digits", id)(0)  # factorials have many digits

def function(f):
    parameters = inspect.signature(f).parameters.values()
    shown = [{"name": p.name} | ({} if p.default is p.empty else {"default": p.default}) for p in parameters]
    shown = shown if all(p.kind == p.POSITIONAL_OR_KEYWORD for p in parameters) else None  # None: whatever it gets
    FUNCTIONS[f.__name__] = f, {"name": f.__name__, "description": f.__doc__ or "", "parameters": shown}
    return f


@function
def compute_factorial(n):
    return math.factorial(n) if n <= 18 else str(math.factorial(n))


@function
def count_slowly(to=10, seconds=0.1):
    """Counts, tells how far it is, and stops when it is asked to."""
    for i in range(to):
        if cancelled():
            raise InterruptedError(f"stopped at {i}")
        time.sleep(seconds)
        progress((i + 1) / to, f"{i + 1} of {to}")
    return to


def progress(fraction=None, message=None):
    say(method="progress", params={**CALL["of"], "fraction": fraction, "message": message})


def cancelled():
    """Whether the job was asked to stop. Nothing else is said to a worker during a call."""
    while not CALL["stop"] and select.select([0], [], [], 0)[0]:
        CALL["stop"] = json.loads(sys.stdin.buffer.readline() or os._exit(0))["method"] == "cancel"
    return CALL["stop"]


def say(**message):
    OUT.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    OUT.flush()


for line in sys.stdin.buffer:
    request = json.loads(line)
    id, method, params = request.get("id"), request["method"], request["params"]
    if method == "initialize":
        say(id=id, result={"functions": [announcement for _, announcement in FUNCTIONS.values()]})
    elif method == "call":
        CALL.update(of={"job": params["job"], "attempt": params["attempt"]}, stop=False)
        try:
            f, _ = FUNCTIONS[params["function"]]
            say(id=id, result=f(*params["args"], **params["kwargs"]))
        except BaseException as error:  # a SystemExit too is the job's error, as in Python's own pools
            data = {"type": type(error).__name__, "traceback": traceback.format_exc()}
            say(id=id, error={"code": -32000, "message": str(error), "data": data})
