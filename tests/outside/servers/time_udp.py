"""Each datagram is answered with the time before it."""

import socket
from time import ctime

s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)

while True:
    data, address = s.recvfrom(1024)
    s.sendto(f"[{ctime()}] {data.decode()}".encode(), address)
