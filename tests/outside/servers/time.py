"""Each recv is answered with the time before it, and nothing ends the answer; one client after the other."""

import socket
from time import ctime

s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.bind(("127.0.0.1", 0))
s.listen(5)
print(s.getsockname()[1], flush=True)

while True:
    client, address = s.accept()
    while True:
        data = client.recv(1024)
        if not data:
            break
        client.send(f"[{ctime()}] {data.decode()}".encode())
    client.close()
