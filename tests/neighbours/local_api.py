"""The part of CrowdSec's local API that a firewall bouncer speaks: `local_api.py ADDRESS` bans one address. Run by path."""

import http.server
import json
import sys

DECISION = {"id": 1, "origin": "cscli", "type": "ban", "scope": "Ip", "duration": "3h59m0s", "scenario": "test"}


class Handler(http.server.BaseHTTPRequestHandler):
    """The stream of decisions: everything at a bouncer's start, then what is new."""

    def do_GET(self) -> None:
        new = [{**DECISION, "value": sys.argv[1]}] if "startup=true" in self.path else []
        body = json.dumps({"new": new, "deleted": []}).encode()
        self.send_response(200 if self.headers.get("X-Api-Key") == "key" else 403)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


if __name__ == "__main__":
    http.server.HTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
