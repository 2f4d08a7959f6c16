"""The server speaks first; then this says its word and leaves when the server does."""

import socket
import sys

s = socket.socket()
s.connect((sys.argv[1], int(sys.argv[2])))

print(s.recv(1024).decode().strip(), flush=True)
s.send(b"thanks for the connection")
print("end:", s.recv(1024), flush=True)
s.close()
