#!/usr/bin/env bash
# A gzip stream may have several members, one behind the other (RFC 1952, 2.2): servers and log shippers that append make such bodies.
# As the body of an answer, PyPI requests 2.32.5 and npm undici 7.16.0 read all of it; PyPI httpx 0.28.1 and aiohttp 3.13.2 end after
# the first member, with status 200, no error and no warning: the rest of the body is lost.
#
# Seen on Python 3.11.7 and Node 20.20.2:
#   requests one,two
#   httpx one,
#   aiohttp one,
#   undici one,two
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
npm install --silent --no-save --no-audit --no-fund undici@7.16.0
python3 -m venv python && python/bin/pip install --quiet --disable-pip-version-check requests==2.32.5 httpx==0.28.1 aiohttp==3.13.2
cat > look.py <<'PY'
import asyncio, gzip, http.server, subprocess, threading
import aiohttp, httpx, requests

BODY = gzip.compress(b"one,") + gzip.compress(b"two")


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_):
        pass


async def by_aiohttp(url):
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/"
print("requests", requests.get(url).text)
print("httpx", httpx.get(url).text)
print("aiohttp", asyncio.run(by_aiohttp(url)))
program = "import('undici').then(({ fetch }) => fetch(process.argv[1])).then((it) => it.text()).then((it) => console.log('undici', it))"
print(subprocess.run(["node", "-e", program, url], capture_output=True, text=True, check=True).stdout.strip())
PY
python/bin/python look.py | tee seen
diff - seen <<'SEEN'
requests one,two
httpx one,
aiohttp one,
undici one,two
SEEN
