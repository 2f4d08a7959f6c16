"""Print the server's date and time."""

import socket
import sys

s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.connect((sys.argv[1], int(sys.argv[2])))
print("It is", s.recv(1024).decode("ascii"), end="", flush=True)
s.close()
