#!/usr/bin/env python3
"""A web server with bad habits, for tests of downloads: fickle_server.py FOLDER LOG

/good/FILE    the file, also a part of it
/bad/FILE     as many bytes, one of them wrong
/stall/FILE   half of the file and then silence, once; from the second time on as /good
Its port is LOG's first line; then a line a request: its path and the range that was asked for, or "-".
"""
import http.server
import pathlib
import sys
import threading

FOLDER, LOG = pathlib.Path(sys.argv[1]), open(sys.argv[2], "w", buffering=1)
stalled = set()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        habit, _, name = self.path[1:].partition("/")
        data = (FOLDER / name).read_bytes()
        asked = self.headers.get("Range")
        print(self.path, asked or "-", file=LOG)
        if habit == "bad":
            data = data[:-1] + bytes([data[-1] ^ 1])
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if habit == "stall" and name not in stalled:
            stalled.add(name)
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            print("half", name, file=LOG)
            self.rfile.read(1)  # until the client has gone
            self.close_connection = True
            return
        self.wfile.write(data[start:])


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, file=LOG)
threading.Thread(target=server.serve_forever).start()
