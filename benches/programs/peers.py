"""What the programs benchmark is measured against: the same functions in Python's own executors and on a bare pipe.

Prints calls a second. Usage: peers.py pool PROCESSES FUNCTION ARGUMENT COUNT | pipe WORKER FUNCTION ARGUMENT COUNT
| run COUNT
"""

import concurrent.futures, json, math, subprocess, sys, time

getattr(sys, "set_int_max_str_digits", id)(0)


def compute_factorial(n):
    return math.factorial(n) if n <= 18 else str(math.factorial(n))


def wait(seconds):
    time.sleep(seconds)


def pool(processes, function, argument, count):
    with concurrent.futures.ProcessPoolExecutor(processes) as executor:
        list(executor.map(wait, [0] * processes * 4))
        begun = time.perf_counter()
        futures = [executor.submit(function, argument) for _ in range(count)]
        for future in futures:
            future.result()
        return count / (time.perf_counter() - begun)


def pipe(worker, function, argument, count):
    process = subprocess.Popen([sys.executable, worker], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(id, method, params):
        line = json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}) + "\n"
        process.stdin.write(line.encode())
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        assert answer["id"] == id and "result" in answer, answer

    ask(0, "initialize", {})
    call = {"job": "j", "attempt": 1, "function": function, "args": [argument], "kwargs": {}}
    begun = time.perf_counter()
    for id in range(1, count + 1):
        ask(id, "call", call)
    rate = count / (time.perf_counter() - begun)
    process.stdin.close()
    process.wait()
    return rate


def run(count):
    begun = time.perf_counter()
    for _ in range(count):
        subprocess.run(["/bin/true"], check=True)
    return count / (time.perf_counter() - begun)


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "pool":
        print(pool(int(rest[0]), globals()[rest[1]], json.loads(rest[2]), int(rest[3])))
    elif what == "pipe":
        print(pipe(rest[0], rest[1], json.loads(rest[2]), int(rest[3])))
    else:
        print(run(int(rest[0])))
