"""A worker for Futurity in plain Python. Add functions of your own, each with @function."""
import asyncio, decimal, inspect, json, math, os, select, sys, time, traceback, typing, uuid

FUNCTIONS, CALL = {}, {"stop": False}
IN, OUT = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "w")  # of the server alone: programs that are started here
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # read nothing,
os.dup2(2, 1)  # and what they write, or a function prints, is a line of its job's log
sys.stdout = sys.stderr
getattr(sys, "set_int_max_str_digits", id)(0)  # factorials have many digits
JSON_TYPES = {int: "integer", float: "number", str: "string", bool: "boolean", list: "array", dict: "object"}


def described(p):
    """A parameter with its default, and with the type that its hint names: what does not fit is refused at submission."""
    hint, given = typing.get_origin(p.annotation) or p.annotation, p.default is not p.empty
    typed = hint in JSON_TYPES and (not given or isinstance(p.default, hint))
    return ({"name": p.name} | ({"default": p.default} if given else {})
            | ({"schema": {"type": JSON_TYPES[hint]}} if typed else {}))


def function(f):
    parameters = inspect.signature(f, eval_str=True).parameters.values()
    shown = [described(p) for p in parameters]
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
    while not CALL["stop"] and select.select([IN], [], [], 0)[0]:
        CALL["stop"] = json.loads(IN.readline() or os._exit(0))["method"] == "cancel"
    return CALL["stop"]


def plain(value):
    """What JSON has no word for: dates, decimals, numbers and arrays of numpy. Anything else is the call's error."""
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    for name in ("isoformat", "tolist"):
        if hasattr(value, name):
            return getattr(value, name)()
    raise TypeError(f"a {type(value).__name__} is no JSON")


def say(**message):
    line = json.dumps({"jsonrpc": "2.0", **message}, default=plain, allow_nan=False)  # NaN is no JSON, and an error
    OUT.write(line + "\n")
    OUT.flush()


for line in IN:
    request = json.loads(line)
    id, method, params = request.get("id"), request["method"], request["params"]
    if method == "initialize":
        say(id=id, result={"functions": [announcement for _, announcement in FUNCTIONS.values()]})
    elif method == "call":
        CALL.update(of={"job": params["job"], "attempt": params["attempt"]}, stop=False)
        try:
            f, _ = FUNCTIONS[params["function"]]
            result = f(*params["args"], **params["kwargs"])
            say(id=id, result=asyncio.run(result) if inspect.iscoroutine(result) else result)
        except BaseException as error:  # a SystemExit too is the job's error, as in Python's own pools
            data = {"type": type(error).__name__, "traceback": traceback.format_exc()}
            say(id=id, error={"code": -32000, "message": str(error), "data": data})
