#!/usr/bin/env python3
"""A monitor that speaks HTTPS, on this machine: monitor.py CERTIFICATE KEY TIMES

Prints its port, then a line for each connection: the first line of the request, or `refused` where none came."""

import socket
import ssl
import sys

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    for _ in range(int(sys.argv[3])):
        try:
            with context.wrap_socket(server.accept()[0], server_side=True) as stream:
                print(stream.recv(4096).split(b"\r\n")[0].decode(), flush=True)
                stream.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nOK")
        except OSError:
            print("refused", flush=True)
