"""TLS as a layer over any link: `ssl` over two buffers in memory, the same on every engine and at both ends."""
