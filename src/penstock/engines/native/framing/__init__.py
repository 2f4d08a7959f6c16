"""What cuts a stream into messages, compiled: a framing for each built-in codec, and one for those that have none."""
