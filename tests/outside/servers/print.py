"""One client, whose every recv is taken for a message."""

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
    print(data.decode(), flush=True)
client.close()
s.close()
