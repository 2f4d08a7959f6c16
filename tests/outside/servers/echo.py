"""Each recv goes back with a prefix, and nothing ends it."""

import socket

s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.bind(("127.0.0.1", 0))
s.listen(5)
print(s.getsockname()[1], flush=True)

client, address = s.accept()
while True:
    data = client.recv(1024)
    if not data:
        break
    client.send(b"Echo=>" + data)
client.close()
s.close()
