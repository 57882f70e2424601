"""What the webhooks benchmark measures http.request against: requests in a ThreadPoolExecutor.

Prints requests a second, of the second of two passes. Usage: fetch.py session|get URL COUNT THREADS
"""

import concurrent.futures, sys, time

import requests
from requests.adapters import HTTPAdapter

how, url, count, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
session = requests.Session()
session.trust_env = False
session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=threads))


def fetch(number):
    answer = (session if how == "session" else requests).get(f"{url}{number}", timeout=30)
    return answer.status_code, len(answer.text)


with concurrent.futures.ThreadPoolExecutor(threads) as executor:
    for _ in range(2):
        begun = time.perf_counter()
        answers = list(executor.map(fetch, range(count)))
        seconds = time.perf_counter() - begun
        assert answers == [(200, 1024)] * count, answers[:3]
print(count / seconds)
