"""Run cases in this process and report each: ``python -m fuzz.child REQUESTS REPORTS FOLDER``.

The arguments are two file descriptors and the folder of the campaign. A request is a line of JSON
with ``kind``, ``seed``, ``first`` and ``count``, or ``kind`` and ``file``. Before each case, a
report names it, so that the parent knows which one killed the process.
"""

from __future__ import annotations

import json
import linecache
import os
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from .kinds import Kind, RefusedError, all_kinds

WALL_SECONDS = 5.0
MEGABYTES = 200
"""Memory over the baseline that a case may take."""
LIMIT = 1500 << 20
"""Address space over the baseline that the process may take."""
LONGEST = 3000
"""Characters of a message."""
_PACKAGES = ("/mkds_gym/", "/mkds_neat/", "/gymnasium/")


def main() -> None:
    requests, reports = os.fdopen(int(sys.argv[1])), int(sys.argv[2])
    folder = Path(sys.argv[3])
    kinds = all_kinds()

    def report(**about: Any) -> None:
        os.write(reports, (json.dumps(about) + "\n").encode())

    prepared: dict[str, list[bytes]] = {}
    for line in requests:
        request = json.loads(line)
        kind = kinds[request["kind"]]
        if kind.name not in prepared:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
            if kind.before is not None:
                kind.before()
            prepared[kind.name] = _seeds(kind, folder)
        if "file" in request:
            report(number=0)
            report(**run(kind, Path(request["file"]).read_bytes(), folder, keep=True))
        for number in range(request.get("first", 0), request.get("first", 0) + request["count"]):
            payload = kind.case(prepared[kind.name], request["seed"], number)
            report(number=number)
            report(**run(kind, payload, folder))
        report(done=True)


def _seeds(kind: Kind, folder: Path) -> list[bytes]:
    """Return the undamaged payloads of a kind, which the first child of a campaign makes."""
    place = folder / "seeds" / kind.name
    if not place.is_dir():
        partial = Path(tempfile.mkdtemp(dir=folder))
        for number, data in enumerate(kind.seeds(partial)):
            (partial / f"{number:03d}.seed").write_bytes(data)
        place.parent.mkdir(exist_ok=True)
        try:
            partial.rename(place)
        except OSError:  # another child was faster
            shutil.rmtree(partial, ignore_errors=True)
    return [path.read_bytes() for path in sorted(place.glob("*.seed"))]


def run(kind: Kind, payload: bytes, folder: Path, *, keep: bool = False) -> dict[str, Any]:
    """Run a case. Return its outcome, and for an unwanted one the details."""
    place = Path(tempfile.mkdtemp(dir=folder / "work"))
    home = Path.cwd()
    os.chdir(place)
    Path("/proc/self/clear_refs").write_text("5")  # the peak becomes the present size
    before = _peak()
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + LIMIT, resource.RLIM_INFINITY))
    cpu, wall = _cpu(), time.monotonic()
    outcome, details = "accepted", ""
    try:
        kind.use(payload, place)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        outcome, details = _judge(error)
        if keep and outcome == "documented":
            details = f"{type(error).__name__}: {error}"
    cpu, wall = _cpu() - cpu, time.monotonic() - wall
    megabytes = (_peak() - before) // 1024
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    os.chdir(home)
    if kind.after is not None:
        kind.after(payload)
    shutil.rmtree(place, ignore_errors=True)
    limit = kind.seconds if outcome == "accepted" else kind.refusal
    if outcome in ("accepted", "documented") and (
        cpu > limit or megabytes > MEGABYTES or wall - cpu > max(WALL_SECONDS, 4 * limit)
    ):
        details = f"{outcome}, but over the limit\n{details}"
        outcome = "over-limit"
    about = {"seconds": round(cpu, 3), "wall": round(wall, 3), "megabytes": megabytes}
    return {"outcome": outcome, "details": details[-6000:], **about}


def _judge(error: BaseException) -> tuple[str, str]:
    """Return ``documented`` or ``raw``, and the traceback of a raw error."""
    from gymnasium.error import Error

    from mkds_gym.errors import MKDSError

    try:
        message = str(error)
        repr(error)
    except BaseException as second:
        return "raw", f"{type(error).__name__} whose message fails: {second!r}"
    text = "".join(traceback.format_exception(error, limit=-12))
    last = traceback.extract_tb(error.__traceback__)[-1]
    if len(message) > LONGEST and "/gymnasium/" not in last.filename:
        where = f"{last.filename}:{last.lineno}: {message[:100]}"
        return "raw", f"{text[-3000:]}\na message of {len(message)} characters from {where}"
    if isinstance(error, RefusedError | MKDSError | Error):
        return "documented", ""
    ours = any(name in last.filename for name in _PACKAGES) and "/tests/" not in last.filename
    line = linecache.getline(last.filename, last.lineno or 0).strip()
    kinds = (ValueError, TypeError, IndexError, AttributeError)
    if ours and line.startswith("raise") and isinstance(error, kinds) and message:
        return "documented", ""
    return "raw", text


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _peak() -> int:
    """Return the peak memory, kB."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    main()
