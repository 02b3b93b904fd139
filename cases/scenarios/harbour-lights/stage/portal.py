"""The staged customer portal: shipment tracking, labels, uploads. Two holes are left in it on purpose.

/label passes `fmt` to a shell (command injection). /upload trusts the file name (path traversal), and
whatever lies in hooks/ is run by /hooks/NAME. Used only inside the staged host `web1`.
"""

import http.server
import os
import subprocess
import urllib.parse

HOME = "/opt/portal"
PAGES = {"/app/": "Harbour Lights portal", "/app/track": "Where is my shipment", "/app/login": "Sign in", "/app/rates": "Rates"}


class Portal(http.server.BaseHTTPRequestHandler):
    server_version = "portal/1.4"

    def answer(self, code: int, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path in PAGES:
            self.answer(200, PAGES[url.path].encode() * 20, "text/html")
        elif url.path == "/app/label":
            done = subprocess.run(f"/opt/portal/bin/label {query.get('fmt', 'pdf')}", shell=True, capture_output=True, timeout=20)
            self.answer(200, done.stdout or b"label\n")
        elif url.path.startswith("/app/hooks/") and os.access(HOME + url.path[4:], os.X_OK):
            done = subprocess.run([HOME + url.path[4:]], env={"QUERY": query.get("c", ""), "PATH": "/usr/bin:/bin"}, capture_output=True, timeout=20)
            self.answer(200, done.stdout)
        else:
            self.answer(404, b"no such page\n")

    def do_POST(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(min(int(self.headers.get("Content-Length", "0")), 1 << 20))
        if url.path == "/app/upload":
            name = dict(urllib.parse.parse_qsl(url.query)).get("name", "scan.pdf")
            path = os.path.join(HOME, "uploads", name)
            with open(path, "wb") as out:
                out.write(body)
            os.chmod(path, 0o755)
            self.answer(201, b"stored\n")
        elif url.path == "/app/login":
            self.answer(401 if b"wrong" in body else 200, b"\n")
        else:
            self.answer(404, b"no such page\n")

    def log_message(self, *args: object) -> None:
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Portal).serve_forever()
