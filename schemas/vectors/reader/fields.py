"""A cursor over bytes."""

from .curve import Refused

INVISIBLE = [
    (0x00, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x61C, 0x61C), (0x180E, 0x180E), (0x200B, 0x200F), (0x2028, 0x202E),
    (0x2060, 0x206F), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB), (0xE0000, 0xE007F),
]


def is_control(char):
    return any(low <= ord(char) <= high for low, high in INVISIBLE)


class Fields:
    """Takes fields off the front; `short` is the code when there aren't enough bytes."""

    def __init__(self, data, short):
        self.data, self.short = data, short

    def take(self, length):
        if len(self.data) < length:
            raise Refused(self.short)
        head, self.data = self.data[:length], self.data[length:]
        return head

    def number(self, length):
        return int.from_bytes(self.take(length), "big")

    def rest(self):
        return self.take(len(self.data))
