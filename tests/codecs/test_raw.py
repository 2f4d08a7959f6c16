"""Raw: no framing."""

import pytest

from penstock.codecs import NEED_DATA, Buffer
from penstock.errors import ConfigurationError, FrameTooLongError, LocalProtocolError
from penstock.testing import check_codec


class TestRaw:
    """Whatever arrived is a message."""

    def test_a_message_is_whatever_has_arrived(self, codecs):
        """All of it, and nothing is left."""
        buffer = Buffer(b"any\r\nbytes\0")

        assert b"any\r\nbytes\0" == codecs.Raw().decode(buffer)
        assert b"" == bytes(buffer)

    def test_nothing_is_no_message(self, codecs):
        """An empty stream says nothing yet."""

        assert NEED_DATA is codecs.Raw().decode(Buffer())
        assert ([], 0) == codecs.Raw().decode_many(b"", 5)

    def test_the_laws_hold_for_the_stream(self, codecs):
        """Where a message ends means nothing; the joined bytes do."""
        check_codec(codecs.Raw(), [b"a", b"\r\n", b"x" * 300], view=b"".join)

    def test_a_long_read_is_handed_over_in_pieces(self, codecs):
        """No message is over ``max_frame_bytes``, singly or in batches."""
        codec = codecs.Raw(max_frame_bytes=4)
        buffer = Buffer(b"0123456789")

        assert [b"0123", b"4567", b"89", NEED_DATA] == [codec.decode(buffer) for _ in range(4)]
        assert ([b"0123", b"4567", b"89"], 10) == codec.decode_many(b"0123456789", 10)
        assert ([b"0123", b"4567"], 8) == codec.decode_many(b"0123456789", 2)
        assert ([b"0123"], 4) == codec.decode_many(b"0123", 2)

    def test_a_batch_that_asks_for_nothing_gets_nothing(self, codecs):
        """A limit of 0 takes no byte."""

        assert ([], 0) == codecs.Raw().decode_many(b"abc", 0)

    def test_a_message_of_any_length_can_be_sent(self, codecs):
        """The other end sees a stream, not messages."""

        assert b"0123456789" == codecs.Raw(max_frame_bytes=4).encode(b"0123456789")

    def test_any_bytes_like_object_is_a_message(self, codecs):
        """What is sent is bytes."""

        assert (bytes, b"abc") == (type(codecs.Raw().encode(bytearray(b"abc"))), codecs.Raw().encode(bytearray(b"abc")))
        assert b"bc" == codecs.Raw().encode(memoryview(b"abc")[1:])

    @pytest.mark.parametrize("message", ["text", 5, None, [b"a"]])
    def test_what_is_no_bytes_is_refused(self, codecs, message):
        """Text has to be encoded by who knows the encoding; 5 is not five zeros."""
        with pytest.raises(TypeError, match="the codec raw is bytes, not"):
            codecs.Raw().encode(message)
        with pytest.raises(TypeError):
            codecs.Raw().encode_many([b"a", message])

    def test_a_datagram_is_a_message_even_when_it_is_empty(self, codecs):
        """Datagrams have ends of their own."""

        assert b"" == codecs.Raw().decode_datagram(b"")
        assert b"abc" == codecs.Raw().decode_datagram(b"abc")
        assert b"" == codecs.Raw().encode_datagram(b"")

    def test_a_datagram_is_never_cut(self, codecs):
        """Over the limit it is refused, both ways."""
        with pytest.raises(FrameTooLongError) as caught:
            codecs.Raw(max_frame_bytes=4).decode_datagram(b"01234")
        with pytest.raises(LocalProtocolError, match="5 bytes"):
            codecs.Raw(max_frame_bytes=4).encode_datagram(b"01234")

        assert (5, 4) == (caught.value.size, caught.value.limit)

    def test_the_limit_is_at_least_one_byte(self, codecs):
        """A wrong option is refused when the codec is made."""
        with pytest.raises(ConfigurationError, match="max_frame_bytes must be 1 or more, not 0"):
            codecs.Raw(max_frame_bytes=0)
