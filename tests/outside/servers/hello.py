"""The server speaks first, then prints what it is told."""

import socket

s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen(5)
print(s.getsockname()[1], flush=True)

while True:
    client, address = s.accept()
    client.send(b"Got a connection from server")
    print(client.recv(1024).decode(), flush=True)
    client.close()
