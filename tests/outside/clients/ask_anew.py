"""One connection for each request."""

import socket
import sys

address = (sys.argv[1], int(sys.argv[2]))

for word in sys.argv[3:]:
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    s.connect(address)
    s.send(word.encode())
    print(s.recv(1024).decode().strip(), flush=True)
    s.close()
