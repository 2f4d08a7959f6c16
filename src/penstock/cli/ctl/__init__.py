"""`penstock ctl`: a running server over its control socket."""
