"""Becomes redis-server on a free port, without persistence, after saying READY as every server of the bench does.

redis-server takes no port 0: one is found here, and READY is printed by an orphan, not a child of redis-server, once
the port answers.
"""

import os
import socket
import time

START_TIMEOUT_S = 20
RETRY_S = 0.01


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def announce(port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            time.sleep(RETRY_S)
        else:
            print(f"READY {port}", flush=True)
            return


def orphan(port: int) -> None:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    if os.fork() == 0:
        announce(port)
    os._exit(0)


chosen = free_port()
orphan(chosen)
options = ["--bind", "127.0.0.1", "--port", str(chosen), "--save", "", "--appendonly", "no", "--logfile", os.devnull]
# Protected mode takes every loopback address but 127.0.0.1 for the outside, and the load comes from all of them.
os.execvp("redis-server", ["redis-server", *options, "--protected-mode", "no"])
