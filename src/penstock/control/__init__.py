"""The control socket: what a running server is asked and told, by `penstock ctl` and by programs."""
