"""A connection: its socket, what it has received and what it owes, its deadlines, its end."""
