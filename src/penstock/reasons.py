"""Why a connection ended, or was never made: fixed vocabularies, the same in the handler, the log and the metrics."""

from enum import StrEnum


class CloseReason(StrEnum):
    """Why a connection ended. Exactly one is given to every connection, once.

    The value is what logs, metrics and ``--log-format json`` show.
    """

    # Without fault.
    PEER_CLOSED = "peer_closed"  # the peer sent EOF and everything owed to it was sent
    DONE = "done"  # the handler returned, or called close()
    DRAINED = "drained"  # the server drained, and this connection had nothing left to do
    DRAIN_TIMEOUT = "drain_timeout"  # it still had something to do at the drain deadline
    STOPPED = "stopped"  # the server stopped at once
    HANDED_OVER = "handed_over"  # it goes on in another process: its peer notices nothing
    ABORTED = "aborted"  # the handler called abort()

    # The network's, or the peer's way of leaving.
    RESET = "reset"  # ECONNRESET, EPIPE and their like
    NETWORK = "network"  # any other error of the transport: ETIMEDOUT, EHOSTUNREACH, …

    # The peer broke the framing. The stream cannot be trusted again.
    FRAME_TOO_LARGE = "frame_too_large"
    BAD_LENGTH = "bad_length"
    BAD_FRAME = "bad_frame"  # the frame's own bytes are wrong: a missing terminator, an unknown type byte
    BAD_ENCODING = "bad_encoding"
    BAD_PAYLOAD = "bad_payload"
    TRUNCATED = "truncated"  # EOF in the middle of a frame

    # TLS, and what a peer takes for it.
    TLS_HANDSHAKE = "tls_handshake"  # no agreement: version, cipher, or a handshake that breaks the rules
    TLS_CERTIFICATE = "tls_certificate"  # a certificate is missing, or was refused
    TLS_ERROR = "tls_error"  # after the handshake: a record that cannot be deciphered, or an alert
    TLS_TRUNCATED = "tls_truncated"  # EOF without close_notify: what the peer sent may have been cut
    TLS_INJECTED = "tls_injected"  # bytes in clear came after the message that was to be the last in clear
    NOT_TLS = "not_tls"  # something else than TLS where TLS is spoken
    LOOKS_LIKE_TLS = "looks_like_tls"  # the framing is broken by the first bytes, which are those of TLS
    LOOKS_LIKE_HTTP = "looks_like_http"  # likewise, of HTTP
    LOOKS_LIKE_PROXY = "looks_like_proxy"  # likewise, of the PROXY protocol

    # The PROXY protocol, where it is spoken.
    PROXY_MISSING = "proxy_missing"  # the stream of a trusted proxy does not begin with a header
    PROXY_BAD = "proxy_bad"  # its header breaks the rules
    REFUSED = "refused"  # the gate refuses the peer whom the header names

    # The peer was too slow, or too fast.
    HANDSHAKE_TIMEOUT = "handshake_timeout"
    FIRST_MESSAGE_TIMEOUT = "first_message_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    MESSAGE_TIMEOUT = "message_timeout"
    WRITE_TIMEOUT = "write_timeout"
    LIFETIME = "lifetime"
    MESSAGE_RATE = "message_rate"  # its messages came faster than they may
    SLOW_CONSUMER = "slow_consumer"  # owed more than the hard limit of its write buffer

    # Our fault.
    # Memory ran short, and it held the most; or output, and it had not read for longest; or places for sessions, and it
    # was heard from once.
    OVERLOAD = "overload"
    HANDLER_ERROR = "handler_error"
    CODEC_ERROR = "codec_error"  # the codec itself failed, or broke its contract


class Refusal(StrEnum):
    """Why the gate refused a peer. The value is also what ``--on-refusal`` calls it."""

    DENIED = "denied"  # its network, user or group may not connect
    MEMORY = "memory"  # the process is short of memory
    LIMIT = "limit"  # as many connections are open as may be
    PER_PEER = "per_peer"  # as many of its address are open as may be
    RATE = "rate"  # connections come too fast
    PEER_RATE = "peer_rate"  # those of its address do
    HANDSHAKES = "handshakes"  # too many others have not finished their handshake
    SESSIONS = "sessions"  # as many senders of datagrams have a session as may, and each was heard from twice
    OVERLOAD = "overload"  # too many handlers outlive their peers, each with a message unfinished
    DESCRIPTORS = "descriptors"  # the process has no descriptor left
    PROXY_UNTRUSTED = "proxy_untrusted"  # a proxy is required, and it is none of those that are trusted
