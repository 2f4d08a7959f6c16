"""One to one, and one to many: what is typed is sent. As a beginner writes it: nothing ends a message."""

import socket
import sys

host = sys.argv[1]
port = int(sys.argv[2])

s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.connect((host, port))

while True:
    text = input()
    if text == "exit":
        break
    s.send(text.encode())
    print("sent", text, flush=True)

s.close()
