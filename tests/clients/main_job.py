"""Generates clients from openapi.yaml and does the main job with each, against a real server.

    python3 tests/clients/main_job.py PROGRAM TOOLS [NAME...]

The main job: submit and wait, results that are there, raised, cancelled, unknown and not yet there, cancel with a body and
without, a batch, a wait for many, pages, 304, HEAD, a manual job, a key that is sent twice, 429 with Retry-After, the log, and
lines where the client has words for them. The programs are in `programs`; those in TypeScript are type-checked first, and hold a misspelt
field that must not pass.

PROGRAM is a built `futurity`, TOOLS the folder that `install.py` filled. NAMEs are some of the generators; if there is none, all,
and the document is judged by `rules.py`, openapi-spec-validator, Redocly and Spectral. Ends with 0 if they find no error, and each client did the job. Nothing leaves this machine: everything runs in a network namespace that has only
loopback, where one can be had.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CONTRACT = HERE.parent.parent / "openapi.yaml"
PROGRAMS = HERE / "programs"
sys.path.insert(0, str(HERE.parent / "contract"))
from run import listening, raise_loopback, stop  # noqa: E402

GENERATE_SECONDS = 600
JOB_SECONDS = 300


class Tools:
    """Where the generators are, and a folder for what one of them makes."""

    def __init__(self, folder, name):
        self.python = folder / "python/bin/python"
        self.node = folder / "node"
        self.jar = next(folder.glob("python/lib/python*/site-packages/openapi_generator_cli/openapi-generator.jar"), None)
        self.work = folder / "made" / name
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)

    def run(self, *command):
        away = {"REDOCLY_TELEMETRY": "off", "SCARF_ANALYTICS": "false", "DO_NOT_TRACK": "1"}
        env = {"PATH": os.environ["PATH"], "HOME": str(self.work), "NO_COLOR": "1", **away}
        done = subprocess.run([str(it) for it in command], cwd=self.work, env=env, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=GENERATE_SECONDS)
        if done.returncode:
            raise Failed(f"{' '.join(map(str, command))} ended with {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")

    def bin(self, name):
        return self.node / "node_modules/.bin" / name

    def generator(self, language, made, *more):
        self.run("java", "-jar", self.jar, "generate", "-g", language, "-i", CONTRACT, "-o", self.work / made, *more)

    def typescript(self, program):
        """Type-checks a program with what was made beside it. The command that runs it."""
        shutil.copy(PROGRAMS / program, self.work / "program.ts")
        (self.work / "package.json").write_text("{}")
        (self.work / "node_modules").symlink_to(self.node / "node_modules")
        self.run(self.bin("tsc"), "program.ts", "--outDir", "js", "--strict", "--skipLibCheck", "--target", "es2022",
                 "--module", "node16", "--moduleResolution", "node16", "--lib", "es2022,dom,dom.iterable", "--types", "node")
        return ["node", "js/program.js"]


class Failed(Exception):
    pass


def openapi_python_client(it):
    it.run(it.python, "-m", "openapi_python_client", "generate", "--path", CONTRACT, "--output-path", it.work / "futurity",
           "--meta", "none")
    shutil.copy(PROGRAMS / "openapi_python_client.py", it.work / "program.py")
    return [it.python, "program.py"]


def openapi_typescript(it):
    it.run(it.bin("openapi-typescript"), CONTRACT, "-o", "schema.d.ts")
    return it.typescript("openapi_typescript.ts")


def openapi_generator_python(it):
    it.generator("python", "made")
    shutil.move(it.work / "made/openapi_client", it.work / "openapi_client")
    shutil.copy(PROGRAMS / "openapi_generator.py", it.work / "program.py")
    return [it.python, "program.py"]


def openapi_generator_typescript_fetch(it):
    it.generator("typescript-fetch", "futurity")
    return it.typescript("typescript_fetch.ts")


def openapi_generator_java(it):
    """The generator's own jar has the library for JSON that the client needs."""
    it.generator("java", "made", "--library", "native", "--additional-properties=openApiNullable=false")
    sources = [*(it.work / "made/src/main/java").rglob("*.java"), PROGRAMS / "MainJob.java", PROGRAMS / "javax/annotation/Generated.java"]
    it.run("javac", "-encoding", "UTF-8", "-nowarn", "-d", "classes", "-cp", it.jar, *sources)
    return ["java", "-cp", f"classes:{it.jar}", "MainJob"]


def hey_api(it):
    it.run(it.bin("openapi-ts"), "-i", CONTRACT, "-o", "futurity", "-c", "@hey-api/client-fetch")
    return it.typescript("hey_api.ts")


def orval(it):
    (it.work / "orval.config.js").write_text(
        f"module.exports = {{ it: {{ input: {str(CONTRACT)!r}, output: {{ target: 'futurity.ts', client: 'fetch' }} }} }};\n")
    it.run(it.bin("orval"), "--config", "orval.config.js")
    return it.typescript("orval.ts")


GENERATORS = {
    "openapi-python-client": openapi_python_client,
    "openapi-typescript": openapi_typescript,
    "openapi-generator-python": openapi_generator_python,
    "openapi-generator-typescript-fetch": openapi_generator_typescript_fetch,
    "openapi-generator-java": openapi_generator_java,
    "hey-api": hey_api,
    "orval": orval,
}


def main_job(program, folder, name):
    it = Tools(folder, name)
    command = GENERATORS[name](it)
    with tempfile.TemporaryDirectory() as directory, open(it.work / "log", "wb") as log:
        data = pathlib.Path(directory) / "data"
        server = subprocess.Popen([program, "--data-dir", data, "--listen", "127.0.0.1:0"], cwd=directory, env={},
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            address = listening(server, data / "address")
            done = subprocess.run([*map(str, command), f"http://{address}"], cwd=it.work, stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=JOB_SECONDS)
            ended = stop(server)
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()
    if done.returncode or ended:
        raise Failed(f"the job ended with {done.returncode}, the server with {ended}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")


def judge(folder):
    it = Tools(folder, "judged")
    it.run(it.python, HERE / "rules.py")
    it.run(it.python, "-m", "openapi_spec_validator", CONTRACT)
    it.run(it.bin("redocly"), "lint", "--config", HERE / "redocly.yaml", CONTRACT)
    it.run(it.bin("spectral"), "lint", "--fail-severity", "error", "--ruleset", HERE / "spectral.yaml", CONTRACT)


def enter(arguments):
    """Again in a namespace that has only loopback, as root or as somebody who may become root of a user namespace."""
    for flags in (["--net"], ["--net", "--map-root-user"]):
        command = ["unshare", *flags, "--"]
        try:
            if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
                return subprocess.run([*command, sys.executable, __file__, *arguments, "--inside"]).returncode
        except FileNotFoundError:
            break
    print("NOTE: no network namespace can be had; the generators run in the machine's own")
    return None


def main():
    arguments = sys.argv[1:]
    if arguments[-1] == "--inside":
        arguments.pop()
        raise_loopback()
    else:
        ended = enter(arguments)
        if ended is not None:
            return ended
    program, folder = (pathlib.Path(it).resolve() for it in arguments[:2])
    failed = []
    judged = [] if arguments[2:] else ["the document"]
    names = judged + (arguments[2:] or list(GENERATORS))
    for name in names:
        begun = time.monotonic()
        try:
            if name in judged:
                judge(folder)
                print(f"{name}: no error is found", flush=True)
                continue
            main_job(program, folder, name)
            print(f"{name}: did the main job, {time.monotonic() - begun:.0f} s", flush=True)
        except (Failed, subprocess.TimeoutExpired) as error:
            failed.append(name)
            print(f"{name}: FAILED\n{error}", flush=True)
    print(f"{len(names) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
