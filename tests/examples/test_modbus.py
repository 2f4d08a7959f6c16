"""The Modbus device, by pymodbus and mbpoll; its frames cut anywhere."""

import modbus
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def served(start):
    return start("modbus.py:modbus", "--bind", "tcp://127.0.0.1:0")


@pytest.mark.outside
def test_pymodbus_reads_what_it_wrote(served):
    """Coils and registers, one and several; inputs are 0; what is not there is an exception of the protocol."""
    client = pytest.importorskip("pymodbus.client").ModbusTcpClient("127.0.0.1", port=served.port)
    assert client.connect()
    try:
        assert not client.write_register(10, 0xBEEF).isError()
        assert not client.write_registers(11, [1, 2, 65535]).isError()
        assert not client.write_coil(5, True).isError()
        assert not client.write_coils(6, [False, True, True, False, True, True, True, True, True]).isError()
        registers = client.read_holding_registers(10, count=4).registers
        coils = client.read_coils(5, count=10).bits[:10]
        inputs = client.read_input_registers(0, count=125).registers
        discrete = client.read_discrete_inputs(990, count=10).bits[:10]
        beyond = client.read_holding_registers(999, count=2)
    finally:
        client.close()

    assert [0xBEEF, 1, 2, 65535] == registers
    assert [True, False, True, True, False, True, True, True, True, True] == coils
    assert ([0] * 125, [False] * 10) == (inputs, discrete)
    assert modbus.ILLEGAL_ADDRESS == beyond.exception_code


@pytest.mark.outside
def test_mbpoll_reads_what_it_wrote(served, program):
    """Its references begin with 1, the protocol's with 0."""
    poll = ("mbpoll", "-m", "tcp", "-p", str(served.port), "-1")
    program(*poll, "-t", "4", "-r", "101", "127.0.0.1", "7", "8", "9")
    program(*poll, "-t", "0", "-r", "101", "127.0.0.1", "1", "0", "1")
    registers = program(*poll, "-t", "4", "-r", "101", "-c", "3", "127.0.0.1")
    coils = program(*poll, "-t", "0", "-r", "101", "-c", "3", "127.0.0.1")

    assert ["[101]: \t7", "[102]: \t8", "[103]: \t9"] == [line for line in registers.splitlines() if line[:1] == "["]
    assert ["[101]: \t1", "[102]: \t0", "[103]: \t1"] == [line for line in coils.splitlines() if line[:1] == "["]


REQUESTS = bytes.fromhex(
    "0001 0000 0006 01 06 0003 abcd"
    "0002 0000 0006 01 03 0002 0003"
    "0003 0000 0008 01 0f 0000 0004 01 0b"
    "0004 0000 0006 02 01 0000 0005"
    "0005 0000 0002 ff 2b"
    "0006 0000 0003 01 03 00"
    "0007 0000 0006 01 05 0000 1234"
)
REPLIES = bytes.fromhex(
    "0001 0000 0006 01 06 0003 abcd"
    "0002 0000 0009 01 03 06 0000 abcd 0000"
    "0003 0000 0006 01 0f 0000 0004"
    "0004 0000 0004 02 01 01 0b"
    "0005 0000 0003 ff ab 01"
    "0006 0000 0003 01 83 03"
    "0007 0000 0003 01 85 03"
)


@given(cuts=st.lists(st.integers(1, 12), max_size=30))
@settings(max_examples=25)
def test_where_the_network_cuts_the_bytes_does_not_matter(served, cuts):
    """Seven requests, good and bad, are answered alike."""

    assert REPLIES == served.replies(REQUESTS, cuts)


def test_what_is_not_modbus_is_not_answered(served):
    """A protocol other than 0, or a length that no frame has."""

    assert (b"", b"") == (served.replies(b"\0\1\0\1\0\2\1\3"), served.replies(b"GET / HTTP/1.1\r\n\r\n"))


@given(st.binary(min_size=1, max_size=253))
def test_any_request_has_an_answer(request):
    """Its function code, or that with the highest bit set and why; never more than a frame has room for."""
    answer = modbus.Device().answer(request)

    assert answer[0] in (request[0], request[0] | 0x80)
    assert 2 <= len(answer) <= 253
