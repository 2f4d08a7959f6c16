"""Knock: say a word, or none, and print what the server says."""

import socket
import sys

s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.connect((sys.argv[1], int(sys.argv[2])))

if len(sys.argv) > 3:
    s.send(sys.argv[3].encode())

print("server:", s.recv(1024).decode(), flush=True)
s.close()
