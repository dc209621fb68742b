"""Run a command again and again with one of its files damaged; a line of JSON a try.

    python flip.py SEED COUNT HOW FILE OUT -- WORDS OF THE COMMAND

HOW is bit (one flipped bit at a random place), cut (truncated there) or zero (64 bytes of
zeros). A process of its own: damage that kills or hangs it is seen by the test and not suffered.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import sys
from pathlib import Path

from hhvad.cli import main


def damaged(data: bytes, how: str, rng: random.Random) -> bytes:
    """The bytes with one damage that changes them."""
    while True:
        found = bytearray(data)
        at = rng.randrange(len(data))
        if how == "bit":
            found[at] ^= 1 << rng.randrange(8)
        elif how == "cut":
            del found[at:]
        else:
            found[at : at + 64] = bytes(len(found[at : at + 64]))
        if found != data:
            return bytes(found)


def run() -> None:
    seed, count, how, name, out_name = sys.argv[1:6]
    words, file, out = sys.argv[7:], Path(name), Path(out_name)
    whole, rng = file.read_bytes(), random.Random(int(seed))

    def tried() -> dict[str, object]:
        out.unlink(missing_ok=True)
        stderr = io.StringIO()
        with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(io.StringIO()):
            try:
                code = main(words)
            except Exception as error:  # a bug: told to the test
                code = f"{type(error).__name__}: {error}"
        made = out.read_bytes().hex() if out.exists() else None
        return {"code": code, "made": made, "error": stderr.getvalue()}

    expected = tried()
    assert expected["code"] == 0, expected
    for number in range(int(count)):
        file.write_bytes(damaged(whole, how, rng))
        print(json.dumps({"number": number}), flush=True)
        found = tried()
        found["same"] = found.pop("made") == expected["made"] and found["code"] == 0
        found["nothing"] = not out.exists()
        print(json.dumps(found), flush=True)
    file.write_bytes(whole)


if __name__ == "__main__":
    run()
