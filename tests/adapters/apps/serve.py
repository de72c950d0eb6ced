"""Serves a WSGI app, each request in its own thread: serve.py MODULE PORT."""

import importlib
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64


make_server("127.0.0.1", int(sys.argv[2]), importlib.import_module(sys.argv[1]).app, Server).serve_forever()
