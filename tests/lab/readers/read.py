"""Reads streams with the libraries of Python, and with curl, all at once.

    python read.py < PLAN

PLAN is a JSON array, `silence.py` has what stands in it. For each stream a JSON object is printed when it has ended, in whatever way.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request

import aiohttp
import aiosseclient
import httpx
import httpx_sse
import requests
import requests_sse
import sseclient
from aiohttp_sse_client2.client import EventSource as AiohttpEventSource

PRINTING = threading.Lock()


class Stream:
    """What is asked of one stream, and what was seen of it."""

    def __init__(self, asked):
        self.asked = asked
        self.url = asked["base"] + asked["target"]
        self.method, self.headers = asked["method"], dict(asked["headers"])
        self.wanted = list(asked["wanted"])
        self.begun, self.heard = time.monotonic(), None
        self.beats, self.silent, self.last = 0, 0.0, ""

    def body(self):
        """All of it, or its lines with the pauses between them."""
        return self.asked["body"].encode() if self.asked.get("body") else self.paced() if self.asked.get("paced") else None

    def paced(self):
        for line, pause in self.asked["paced"]:
            yield line.encode() + b"\n"
            time.sleep(pause)

    async def paced_async(self):
        for line, pause in self.asked["paced"]:
            yield line.encode() + b"\n"
            await asyncio.sleep(pause)

    def body_async(self):
        return self.paced_async() if self.asked.get("paced") else self.body()

    def moved(self):
        """Something came, a beat at least."""
        now = time.monotonic()
        self.silent, self.heard = max(self.silent, now - (self.heard or now)), now

    def saw(self, text, name=""):
        """Takes in a line or an event. Whether the reader is to leave: what is wanted has come, and the stream has no end of its own."""
        self.last = text.strip() or self.last
        self.beats += len(text) - len(text.lstrip(" ")) + (name == "alive")
        while self.wanted and self.wanted[0] in text:
            self.wanted.pop(0)
        return not self.wanted and not self.asked["ends"]

    def answered(self, status):
        if status != 200:
            raise RuntimeError(f"status {status}")

    def report(self, error):
        seconds = time.monotonic() - self.begun
        if error is None and self.wanted:
            error = f"it ended without {self.wanted}, after {self.last[:200]!r}"
        told = {"id": self.asked["id"], "seconds": round(seconds, 1), "beats": self.beats, "silent": round(self.silent, 1), "error": error}
        with PRINTING:
            print(json.dumps(told), flush=True)


def httpx_lines(it, timeout=None):
    with httpx.Client(timeout=timeout, trust_env=False) as client:
        with client.stream(it.method, it.url, headers=it.headers, content=it.body()) as answer:
            it.answered(answer.status_code)
            for line in answer.iter_lines():
                if it.saw(line):
                    return


def httpx_20(it):
    """A stream is never silent for so long."""
    httpx_lines(it, httpx.Timeout(5, read=20))


def requests_lines(it):
    with requests.request(it.method, it.url, headers=it.headers, data=it.body(), stream=True) as answer:
        it.answered(answer.status_code)
        for line in answer.iter_lines(decode_unicode=True):
            if it.saw(line if isinstance(line, str) else line.decode()):
                return


def urllib_lines(it):
    request = urllib.request.Request(it.url, it.body(), it.headers, method=it.method)
    with urllib.request.urlopen(request) as answer:
        it.answered(answer.status)
        for line in answer:
            if it.saw(line.decode()):
                return


def aiohttp_lines(it):
    async def read():
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
            expect = {"expect100": True} if it.asked.get("expect") else {}
            async with session.request(it.method, it.url, headers=it.headers, data=it.body_async(), **expect) as answer:
                it.answered(answer.status)
                async for line in answer.content:
                    if it.saw(line.decode()):
                        return

    asyncio.run(read())


def curl(it):
    command = ["curl", "-q", "-sS", "-N", "--fail", "-X", it.method, it.url]
    command += [word for header in it.headers.items() for word in ("-H", ": ".join(header))]
    if it.asked.get("body"):
        command += ["--data-binary", it.asked["body"]]
    if it.asked.get("paced"):
        # `-T -` would read nothing while it waits for what it is to send.
        command += ["-T", "."]
    given = subprocess.PIPE if it.asked.get("paced") else subprocess.DEVNULL
    told = subprocess.Popen(command, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def send():
        try:
            for line in it.paced():
                told.stdin.write(line)
                told.stdin.flush()
            told.stdin.close()
        except OSError:
            pass

    if it.asked.get("paced"):
        threading.Thread(target=send, daemon=True).start()
    rest = b""
    try:
        while piece := os.read(told.stdout.fileno(), 65536):
            it.moved()
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                it.beats += line == b":" or line == b"event: alive"
                if it.saw(line.decode()):
                    return
        if told.wait() != 0:
            raise RuntimeError(f"curl ended with {told.returncode}: {told.stderr.read().decode().strip()}")
    finally:
        if told.poll() is None:
            told.kill()
            told.wait()


def leave_at_end(it, name, text):
    """Readers of events come back after the end of a stream; whoever has seen `end` leaves."""
    return it.saw(text, name) or name == "end"


def httpx_sse_events(it):
    with httpx.Client(timeout=None, trust_env=False) as client:
        with httpx_sse.connect_sse(client, it.method, it.url, headers=it.headers, content=it.body()) as source:
            it.answered(source.response.status_code)
            for event in source.iter_sse():
                json.loads(event.data)
                if leave_at_end(it, event.event, event.data):
                    return


def sseclient_py_events(it):
    with requests.request(it.method, it.url, headers=it.headers, data=it.body(), stream=True) as answer:
        it.answered(answer.status_code)
        for event in sseclient.SSEClient(answer).events():
            json.loads(event.data)
            if leave_at_end(it, event.event, event.data):
                return


def came_back():
    raise RuntimeError("it was cut, and would come back")


def requests_sse_events(it):
    source = requests_sse.EventSource(it.url, it.method, headers=it.headers, data=it.body(), on_error=came_back)
    with source:
        for event in source:
            json.loads(event.data)
            if leave_at_end(it, event.type, event.data):
                return


def aiohttp_sse_client2_events(it):
    async def read():
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
            asked = {"headers": it.headers, "data": it.body(), "on_error": came_back, "session": session}
            async with AiohttpEventSource(it.url, {"method": it.method}, **asked) as source:
                async for event in source:
                    json.loads(event.data)
                    if leave_at_end(it, event.type, event.data):
                        return

    asyncio.run(read())


def aiosseclient_events(it):
    async def read():
        async for event in aiosseclient.aiosseclient(it.url, headers=it.headers, raise_for_status=True):
            json.loads(event.data)
            if leave_at_end(it, event.event, event.data):
                return

    asyncio.run(read())


READERS = {"httpx": httpx_lines, "httpx, read=20": httpx_20, "requests": requests_lines, "urllib": urllib_lines,
           "aiohttp": aiohttp_lines, "curl": curl, "httpx-sse": httpx_sse_events, "sseclient-py": sseclient_py_events,
           "requests-sse": requests_sse_events,
           "aiohttp-sse-client2": aiohttp_sse_client2_events, "aiosseclient": aiosseclient_events}


def read(it):
    error = None
    try:
        READERS[it.asked["reader"]](it)
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"[:300]
    it.report(error)


def main():
    threads = [threading.Thread(target=read, args=[Stream(asked)]) for asked in json.load(sys.stdin)]
    for it in threads:
        it.start()
    for it in threads:
        it.join()


if __name__ == "__main__":
    main()
