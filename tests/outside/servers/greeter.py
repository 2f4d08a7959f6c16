"""One word within five seconds."""

import socket

s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.bind(("127.0.0.1", 0))
s.listen(5)
print(s.getsockname()[1], flush=True)

while True:
    client, address = s.accept()
    try:
        client.settimeout(5)
        if client.recv(1024) == b"1":
            client.send(b"welcome to server!")
        else:
            client.send(b"please go out!")
    except TimeoutError:
        print("time out", flush=True)
    client.close()
