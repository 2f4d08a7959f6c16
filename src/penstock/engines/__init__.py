"""What moves bytes and tells time. One interface (`base`), one conformance suite, several engines."""
