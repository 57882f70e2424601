"""What the peers benchmark is measured against, installed from their registries and run with their own clients.

    python3 peers.py install DIRECTORY          what there is: a JSON list of {"peer", "version"} or {"peer", "skipped"}
    python3 peers.py measure PEER DIRECTORY     {"one_ms", "per_second"}: the median of jobs one after the other, and the rate
                                                of many at once, from the first submission to the last result

The work is a function that gives back what it is given. Every result is checked. Servers and workers are started anew for
each measurement, on loopback, and ended with it. Two workers where workers are processes: the machine has two cores.
"""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
PYTHON_PACKAGES = {"celery": "celery[redis]==5.6.3", "dask": "distributed==2026.8.0", "huey": "huey==3.5.4"}
BULLMQ = ["bullmq@6.7.0", "ioredis@5.8.2"]
REDIS_PACKAGES = ["redis-server", "redis-tools", "liblzf1", "libjemalloc2", "liblua5.1-0", "lua-cjson", "lua-bitop"]
WORKERS = 2
LIMIT_SECONDS = 120


def run(*command, cwd=None):
    done = subprocess.run([str(it) for it in command], cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"{command[0]}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout.strip()


def redis_server(directory):
    """The program and its environment: that of the system, or of Debian's packages, unpacked and not installed."""
    system = shutil.which("redis-server")
    if system:
        return system, {}
    unpacked = directory / "redis"
    program = unpacked / "usr/bin/redis-server"
    if not program.exists():
        packages = directory / "debs"
        packages.mkdir(parents=True, exist_ok=True)
        run("apt-get", "download", *REDIS_PACKAGES, cwd=packages)
        for package in packages.glob("*.deb"):
            run("dpkg", "-x", package, unpacked)
    libraries = next((unpacked / "usr/lib").glob("*linux-gnu"))
    return str(program), {"LD_LIBRARY_PATH": str(libraries)}


def python(directory):
    return directory / "venv/bin/python"


def install_python(directory):
    if not python(directory).exists():
        run(sys.executable, "-m", "venv", directory / "venv")
    run(python(directory), "-m", "pip", "install", "-q", *PYTHON_PACKAGES.values())


def install_node(directory):
    node = directory / "node"
    node.mkdir(parents=True, exist_ok=True)
    if not (node / "node_modules/ioredis").exists():
        run("npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", node, *BULLMQ)


def tried(install, *arguments):
    """Why it cannot be had; none if it can."""
    try:
        install(*arguments)
        return None
    except (OSError, StopIteration) as error:
        return str(error) or "it cannot be unpacked"


def install(directory):
    directory.mkdir(parents=True, exist_ok=True)
    redis, packages, node = tried(redis_server, directory), tried(install_python, directory), tried(install_node, directory)
    version = "unknown redis"
    if not redis:
        program, environment = redis_server(directory)
        said = subprocess.run([program, "--version"], env=environment, capture_output=True, text=True).stdout
        version = "Redis " + said.split("v=")[1].split()[0]
    found = [(name, f"CPython {sys.version.split()[0]}", None) for name in ("threads", "processes")]
    found += [(name, f"{BULLMQ[0]}, {version}", redis or node) for name in ("bullmq_second", "bullmq_always")]
    found += [("celery", f"{PYTHON_PACKAGES['celery']}, {version}", redis or packages)]
    found += [("dask", PYTHON_PACKAGES["dask"], packages)]
    found += [(name, PYTHON_PACKAGES["huey"], packages) for name in ("huey", "huey_fsync")]
    return [{"peer": peer, **({"skipped": why} if why else {"version": version})} for peer, version, why in found]


@contextlib.contextmanager
def process(*command, cwd, environment=None):
    """A process that is ended with the block."""
    with open(pathlib.Path(cwd) / "log", "ab") as log:
        started = subprocess.Popen(
            [str(it) for it in command], cwd=cwd, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log)
        try:
            yield started
        finally:
            started.terminate()
            started.wait(LIMIT_SECONDS)


@contextlib.contextmanager
def redis(directory, work, fsync):
    """A Redis that keeps what it is told, by a log that is synced each second or always."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program, environment = redis_server(directory)
    settings = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", fsync, "--dir", work]
    with process(program, *settings, cwd=work, environment=environment):
        deadline = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.01)
        yield port


def same(value):
    return value


def measured(submit, results, one, many):
    """`submit` a value for a handle; `results` of many handles. Some go before, so that everything is there."""
    warm = results([submit(value) for value in range(64)])
    assert warm == list(range(64)), warm
    latencies = []
    for value in range(one):
        begun = time.perf_counter()
        assert results([submit(value)]) == [value]
        latencies.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    came = results([submit(value) for value in range(many)])
    seconds = time.perf_counter() - begun
    assert came == list(range(many)), "a wrong result"
    return {"one_ms": statistics.median(latencies) * 1_000, "per_second": many / seconds}


def executor(kind):
    with kind(WORKERS) as pool:
        return measured(
            lambda value: pool.submit(same, value), lambda futures: [it.result() for it in futures], 1_000, 20_000)


def bullmq(directory, work, fsync):
    with redis(directory, work, fsync) as port:
        return json.loads(run("node", HERE / "bullmq.mjs", port, 300, 10_000, cwd=directory / "node"))


def in_environment(directory, work, what, environment):
    """Runs this file again, by the interpreter that has the packages."""
    done = subprocess.run(
        [python(directory), __file__, "inside", what], cwd=HERE, env={**os.environ, **environment}, capture_output=True,
        text=True, timeout=LIMIT_SECONDS)
    if done.returncode != 0:
        raise OSError(f"{what}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def celery(directory, work):
    with redis(directory, work, "everysec") as port:
        environment = {"REDIS_PORT": str(port), "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"}
        worker = [python(directory), "-m", "celery", "-A", "tasks", "worker", "--concurrency", WORKERS, "-l", "warning"]
        with process(*worker, cwd=work, environment=environment):
            return in_environment(directory, work, "celery", environment)


def huey(directory, work, fsync):
    environment = {
        "HUEY_FILE": str(work / "huey.db"), "HUEY_FSYNC": fsync, "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"}
    consumer = [
        python(directory), "-m", "huey.bin.huey_consumer", "tasks.huey", "-w", WORKERS, "-d", "0.001", "-m", "0.001"]
    with process(*consumer, cwd=work, environment=environment):
        return in_environment(directory, work, "huey", environment)


def inside(what):
    """With the packages at hand."""
    if what == "dask":
        from distributed import Client, LocalCluster

        with LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster:
            with Client(cluster) as client:
                return measured(lambda value: client.submit(same, value, pure=False), client.gather, 100, 2_000)
    import tasks

    if what == "celery":
        return measured(tasks.same.delay, lambda handles: [it.get() for it in handles], 200, 2_000)
    get = lambda handles: [it.get(blocking=True, backoff=1, max_delay=0.001) for it in handles]
    return measured(tasks.kept, get, 200, 2_000)


def measure(peer, directory):
    with tempfile.TemporaryDirectory(dir=directory) as work:
        work = pathlib.Path(work)
        match peer:
            case "threads":
                return executor(concurrent.futures.ThreadPoolExecutor)
            case "processes":
                return executor(concurrent.futures.ProcessPoolExecutor)
            case "bullmq_second":
                return bullmq(directory, work, "everysec")
            case "bullmq_always":
                return bullmq(directory, work, "always")
            case "celery":
                return celery(directory, work)
            case "dask":
                return in_environment(directory, work, "dask", {"PYTHONPATH": str(HERE)})
            case "huey" | "huey_fsync":
                return huey(directory, work, "1" if peer == "huey_fsync" else "0")
    raise SystemExit(f"there is no peer {peer}")


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    match verb:
        case "install":
            print(json.dumps(install(pathlib.Path(rest[0]).resolve())))
        case "measure":
            print(json.dumps(measure(rest[0], pathlib.Path(rest[1]).resolve())))
        case "inside":
            print(json.dumps(inside(rest[0])))
