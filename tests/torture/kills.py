"""kill -9 at a random moment, again and again on one directory, with jobs, effects and webhooks; and SIGTERM likewise."""

import random
import time

from ledger import Ledger, Receiver
from server import Home, wait_until

IN_FLIGHT = 1_000


def kills(root, program, count):
    """Kills `count` servers in turn; at each tenth at least a thousand jobs are running."""
    home, chance = Home(root, program), random.Random(1)
    ledger = Ledger(receiver=Receiver(), effects=home.effects)
    flights, before = 0, []
    for number in range(count):
        server = home.start()
        if number % 10 == 0:
            fly(server)
        ledger.check(server, before)
        with ledger.load(server):
            time.sleep(chance.uniform(0.005, 0.1))
            if number % 10 == 0:
                flights += in_flight(server)
            server.kill()
        before = ledger.take_fresh()
        if number % 10 == 0:
            # Those that were flying are given the time to land, or the third kill would be taken for their fault.
            server = home.start()
            landed(server)
            server.stop()
    server = home.start()
    ledger.check_whole(server)
    return count, ledger, server.end(), f"{len(ledger.jobs)} jobs acknowledged, {flights} of {-(-count // 10)} kills with 1,000 in flight, " \
        f"{sum(ledger.receiver.jobs.values())} POSTs, {ledger.crash_loops} crash loops"


def fly(server):
    """Jobs that run for a while, all at once."""
    call = {"function": "sleep", "queue": "wide", "calls": [{"args": [0.7]}] * IN_FLIGHT}
    answer = server.client().post("/v1/batches", call)
    assert answer.status == 202, answer.body


def in_flight(server):
    """Whether so many run, in a moment."""
    client = server.client()
    return wait_until(lambda: client.get("/v1/queues/wide").json()["depth"]["running"] >= IN_FLIGHT, within=5)


def landed(server):
    """Waits until none of them is left."""
    def none_left():
        depth = client.get("/v1/queues/wide").json()["depth"]
        return depth["running"] + depth["pending"] == 0
    client = server.client()
    assert wait_until(none_left), "jobs that flew do not land"


def stops(root, program, count):
    """Stops `count` servers under load by SIGTERM, each half of them a second time at once."""
    home, chance = Home(root, program), random.Random(2)
    ledger, before, codes = Ledger(receiver=Receiver(), effects=home.effects), [], {}
    for number in range(count):
        server = home.start()
        ledger.check(server, before)
        with ledger.load(server):
            time.sleep(chance.uniform(0.005, 0.1))
            server.signal(15)
            if number % 2:
                server.signal(15)
            code = server.wait()
        codes[code] = codes.get(code, 0) + 1
        before = ledger.take_fresh()
    server = home.start()
    ledger.check_whole(server)
    findings = server.end() + [f"{n} stops ended with {code}" for code, n in codes.items() if code != 0]
    if ledger.crash_loops:
        findings.append(f"{ledger.crash_loops} stops were taken for deaths")
    return count, ledger, findings, f"{len(ledger.jobs)} jobs acknowledged, answers {dict(sorted(ledger.answers.items()))}"


def pauses(root, program, count):
    """SIGSTOP and SIGCONT under load: a server that was away for a while starts nothing twice and loses nothing."""
    home, chance = Home(root, program), random.Random(3)
    ledger = Ledger(receiver=Receiver(), effects=home.effects)
    server = home.start()
    with ledger.load(server):
        for _ in range(count):
            time.sleep(chance.uniform(0.05, 0.2))
            server.signal(19)
            time.sleep(chance.uniform(0.05, 0.5))
            server.signal(18)
    ledger.check_whole(server)
    return count, ledger, server.end(), f"{len(ledger.jobs)} jobs acknowledged"
