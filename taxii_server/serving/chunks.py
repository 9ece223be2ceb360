"""Where a chunked body ends (RFC 9112, 7.1).

This only looks for the end; gunicorn's reader takes the body apart and judges it. Whatever looks wrong counts as an
end here, so that the reader gets to see it.
"""

from __future__ import annotations

_MAX_LINE_BYTES = 16_384


class ChunkScan:
    """Follows a body as it arrives: call `feed` with all that is there each time, from the first byte of the body."""

    def __init__(self) -> None:
        self.done = False
        #: bytes of content so far, also those of a chunk that is not complete
        self.size = 0
        self._whole = 0
        self._at = 0
        self._in_trailer = False

    def feed(self, data: bytearray) -> bool:
        """Whether the body is whole, or damaged."""
        while not self.done and self._step(data):
            pass
        return self.done

    def _step(self, data: bytearray) -> bool:
        """One line, and the content that it announces; False when more has to arrive first."""
        end = data.find(b"\r\n", self._at, self._at + _MAX_LINE_BYTES)
        if end < 0:
            self.done = len(data) - self._at >= _MAX_LINE_BYTES or b"\n" in data[self._at :]
            return False
        line = bytes(data[self._at : end])
        if self._in_trailer:
            self._at = end + 2
            self.done = not line
            return True
        digits = line.split(b";", 1)[0].strip()
        try:
            size = int(digits, 16) if digits.isalnum() else -1
        except ValueError:
            size = -1
        if size < 0:
            self.done = True
        elif size == 0:
            self._at = end + 2
            self._in_trailer = True
        elif len(data) < end + 2 + size + 2:
            self.size = self._whole + max(0, len(data) - end - 2)
            return False
        else:
            self._whole += size
            self.size = self._whole
            self._at = end + 2 + size + 2
            self.done = data[self._at - 2 : self._at] != b"\r\n"
        return True
