"""A Modbus TCP device: coils, discrete inputs, holding registers and input registers, 1,000 of each.

    penstock serve examples/modbus.py:modbus --bind tcp://127.0.0.1:1502
    mbpoll -m tcp -p 1502 -t 4 -r 1 -c 3 -1 127.0.0.1

Wire format: the MBAP header (transaction, protocol 0, length, unit), then a function code and its data, as in "MODBUS
Application Protocol V1.1b3" and "MODBUS Messaging on TCP/IP V1.0b". Functions 1 to 6, 15 and 16. Every unit is the
same device. What is written stays until the server ends; inputs read 0.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import penstock
from penstock.errors import BadFrameError

SIZE = 1000
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
# The highest counts that a frame of 260 bytes has room for, by section 6 of the specification.
MOST_BITS_READ, MOST_BITS_WRITTEN, MOST_READ, MOST_WRITTEN = 2000, 1968, 125, 123


class RefusedError(Exception):
    """A request that is answered with an exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Device:
    """The four tables, and what each function does with them. No I/O."""

    def __init__(self) -> None:
        self.coils, self.discrete_inputs = bytearray(SIZE), bytearray(SIZE)
        self.holding_registers, self.input_registers = [0] * SIZE, [0] * SIZE

    def answer(self, request: bytes) -> bytes:
        """Answer one request, function code and data; never raises."""
        try:
            return request[:1] + self._answer(request[0], request[1:])
        except RefusedError as refusal:
            return bytes((request[0] | 0x80, refusal.code))
        except (struct.error, ValueError):  # fewer bytes than the function takes, or more
            return bytes((request[0] | 0x80, ILLEGAL_VALUE))

    def _answer(self, function: int, data: bytes) -> bytes:
        match function:
            case 1 | 2:
                start, count = struct.unpack(">HH", data)
                table = self.coils if function == 1 else self.discrete_inputs
                return _pack_bits(table[_span(start, count, MOST_BITS_READ)])
            case 3 | 4:
                start, count = struct.unpack(">HH", data)
                registers = self.holding_registers if function == 3 else self.input_registers
                return _pack_registers(registers[_span(start, count, MOST_READ)])
            case 5:
                start, value = struct.unpack(">HH", data)
                if value not in (0x0000, 0xFF00):
                    raise RefusedError(ILLEGAL_VALUE)
                self.coils[_span(start, 1)] = bytes((value >> 15,))
            case 6:
                start, value = struct.unpack(">HH", data)
                self.holding_registers[_span(start, 1)] = [value]
            case 15:
                start, count, size = struct.unpack_from(">HHB", data)
                place = _span(start, count, MOST_BITS_WRITTEN)
                self.coils[place] = _unpack_bits(_exactly(data[5:], size, (count + 7) // 8), count)
            case 16:
                start, count, size = struct.unpack_from(">HHB", data)
                place = _span(start, count, MOST_WRITTEN)
                self.holding_registers[place] = struct.unpack(f">{count}H", _exactly(data[5:], size, 2 * count))
            case _:
                raise RefusedError(ILLEGAL_FUNCTION)
        return data[:4]  # what was written, and where


def _span(start: int, count: int, most: int = 1) -> slice:
    if not 1 <= count <= most:
        raise RefusedError(ILLEGAL_VALUE)
    if start + count > SIZE:
        raise RefusedError(ILLEGAL_ADDRESS)
    return slice(start, start + count)


def _exactly(data: bytes, announced: int, size: int) -> bytes:
    if not len(data) == announced == size:
        raise RefusedError(ILLEGAL_VALUE)
    return data


def _pack_registers(values: Sequence[int]) -> bytes:
    return struct.pack(f">B{len(values)}H", 2 * len(values), *values)


def _pack_bits(bits: bytes) -> bytes:
    """Pack bits, a byte each, eight to a byte, the first one lowest; before them their number of bytes."""
    number = sum(bit << index for index, bit in enumerate(bits))
    size = (len(bits) + 7) // 8
    return bytes((size,)) + number.to_bytes(size, "little")


def _unpack_bits(data: bytes, count: int) -> bytes:
    number = int.from_bytes(data, "little")
    return bytes(number >> index & 1 for index in range(count))


device = Device()


@penstock.on_message(codec="length-prefixed:size=2,offset=4,header=keep,max=260")
def modbus(frame: bytes) -> bytes:
    """Answer one request with the transaction and the unit that it has."""
    if len(frame) < 8 or frame[2:4] != b"\0\0":
        raise BadFrameError("not a frame of Modbus: a protocol other than 0, or no function code")
    answer = device.answer(frame[7:])
    return frame[:4] + struct.pack(">H", 1 + len(answer)) + frame[6:7] + answer
