"""A datagram for each request."""

import socket
import sys

address = (sys.argv[1], int(sys.argv[2]))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

for word in sys.argv[3:]:
    s.sendto(word.encode(), address)
    data, _ = s.recvfrom(1024)
    print(data.decode(), flush=True)

s.close()
