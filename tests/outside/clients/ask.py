"""Several messages on one connection; each is sent when the one before it was answered."""

import socket
import sys

s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.connect((sys.argv[1], int(sys.argv[2])))

for word in sys.argv[3:]:
    s.send(word.encode())
    data = s.recv(1024)
    print(data.decode().strip(), flush=True)

s.close()
