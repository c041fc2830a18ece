"""A headless Chromium for tests, driven through DevTools' pipe."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

PROGRAM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
"""Path of the browser; None without a browser."""


class Browser:
    """A browser with one page, until the end of a ``with`` block.

    Attributes:
        problems: Errors and warnings of the page's console, and requests that left the page.
    """

    def __init__(self, folder: Path, seconds: float = 60) -> None:
        assert PROGRAM is not None
        self._seconds = seconds
        self._number, self._data = 0, b""
        self._answers: dict[int, Any] = {}
        self._events: list[dict[str, Any]] = []
        self.problems: list[str] = []
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        # bash puts the pipes where the browser expects them.
        line = f'exec "$0" "$@" 3<&{to_read} 4>&{to_write} 2>/dev/null'
        flags = (
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--remote-debugging-pipe", "--no-first-run", f"--user-data-dir={folder}"),
        )
        self._process = subprocess.Popen(
            ["bash", "-c", line, PROGRAM, *flags, "about:blank"],
            pass_fds=(to_read, to_write),
        )
        os.close(to_read)
        os.close(to_write)
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        attached = self._send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def open(self, path: Path, width: int, *, height: int = 900, dark: bool = False) -> None:
        """Open a file in a window, and wait until it is loaded."""
        self._events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path.resolve().as_uri())
        self._wait(lambda: any(e["method"] == "Page.loadEventFired" for e in self._events))

    def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, or of the promise that it gives."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, file: Path) -> None:
        """Save a picture of the whole page."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(answer["data"]))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of DevTools for the page."""
        return self._send(method, self._session, **parameters)

    def _send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        number = self._number
        self._wait(lambda: number in self._answers)
        answer: dict[str, Any] = self._answers.pop(number)
        assert "error" not in answer, (method, answer)
        result: dict[str, Any] = answer["result"]
        return result

    def _wait(self, done: Any) -> None:
        end = time.monotonic() + self._seconds
        while not done():
            left = end - time.monotonic()
            assert left > 0, f"the browser did not answer in {self._seconds} s"
            if select.select([self._from], [], [], left)[0]:
                data = os.read(self._from, 1 << 20)
                assert data, "the browser has ended"
                *messages, self._data = (self._data + data).split(b"\0")
                for each in messages:
                    self._take(json.loads(each))

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._answers[message["id"]] = message
            return
        self._events.append(message)
        method, what = message["method"], message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(str(what["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and what["type"] in ("error", "warning"):
            self.problems.append(str(what["args"]))
        elif method == "Log.entryAdded" and what["entry"]["level"] in ("error", "warning"):
            self.problems.append(what["entry"]["text"])
        elif method == "Page.javascriptDialogOpening":
            self.problems.append(f"dialog: {what['message']}")
        elif method == "Network.requestWillBeSent":
            url = what["request"]["url"]
            if not url.startswith(("data:", "file:", "about:", "blob:")):
                self.problems.append(f"request of {url}")
