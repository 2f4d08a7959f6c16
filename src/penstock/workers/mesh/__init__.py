"""The workers of a machine among themselves: each has a pair of sockets with each other one."""
