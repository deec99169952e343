"""The lines of requests: all of them, in order, one write for a turn of the loop."""

from __future__ import annotations

import asyncio
import io

from chatkeep.cli.logs import RequestLines


class Stream(io.BytesIO):
    """Counts the writes."""

    writes = 0

    def write(self, data: object, /) -> int:
        self.writes += 1
        return super().write(data)  # type: ignore[arg-type]  # the buffers that a stream takes


async def test_the_lines_of_a_turn_are_written_together_and_in_order() -> None:
    stream = Stream()
    lines = RequestLines(stream)
    for turn in range(3):
        for number in range(2):
            lines.write(b"%d.%d" % (turn, number))
        await asyncio.sleep(0)
    assert stream.getvalue() == b"0.0\n0.1\n1.0\n1.1\n2.0\n2.1\n"
    assert stream.writes == 3


async def test_what_the_loop_did_not_come_to_is_written_at_the_end() -> None:
    stream = Stream()
    lines = RequestLines(stream)
    lines.write(b"last")
    lines.flush()
    assert stream.getvalue() == b"last\n"
    await asyncio.sleep(0)
    assert stream.writes == 1
