"""Serves a folder on this machine, as any static host would: python3 scripts/serve.py DIST [PORT] (standard library only)."""

import functools
import http.server
import os
import sys


class Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".wasm": "application/wasm", ".js": "text/javascript"}

    def end_headers(self):
        # isolated from other origins, the page may use several threads
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_):
        pass


def main(folder, port=None):
    if not os.path.exists(os.path.join(folder, "index.html")):
        sys.exit(f"no page in {folder}: build it with `make web`")
    handler = functools.partial(Handler, directory=folder)
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port or 8080)), handler)
    except OSError as error:
        if port:
            sys.exit(f"port {port} cannot be used ({error.strerror}): choose another one")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)  # nobody asked for 8080
    with server:
        print(f"http://127.0.0.1:{server.server_address[1]}/  (Ctrl-C stops it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:3])
