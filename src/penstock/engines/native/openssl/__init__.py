"""TLS against the very OpenSSL that Python's `ssl` uses: records pass in compiled code. See docs/design/tls.md."""
