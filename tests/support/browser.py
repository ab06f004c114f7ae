"""A headless Chromium, driven by the DevTools protocol over two pipes; for tests of pages."""

from __future__ import annotations

import base64
import json
import os
import select
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

BINARY = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(BINARY is None, reason="needs Chromium (Debian: chromium)")

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--remote-debugging-pipe"),
)
CODES = {"ArrowLeft": 37, "ArrowRight": 39, "Escape": 27, "Enter": 13}


class Browser:
    """One page in a browser of its own. `messages`: what the page wrote to the console, and its
    errors; `requests`: every address that it asked for. Both are complete after any call."""

    def __init__(self, folder: Path, *flags: str) -> None:
        """`folder`: for the profile and for what the page saves."""
        assert BINARY is not None
        self.downloads = folder / "downloads"
        self.downloads.mkdir(parents=True)
        read, child_write = os.pipe()
        child_read, write = os.pipe()
        command = [BINARY, *FLAGS, *flags, f"--user-data-dir={folder / 'profile'}", "about:blank"]
        # Chromium reads commands at 3 and writes to 4; either number may be in use at the moment.
        pipes = f"8<&{child_read} 9>&{child_write} 3<&8 4>&9 8<&- 9>&-"
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec {shlex.join(command)} {pipes}"],
            pass_fds=(child_read, child_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(child_read)
        os.close(child_write)
        self.read, self.write, self.buffer, self.last = read, write, b"", 0
        self.session: str | None = None
        self.messages: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))

    def close(self) -> None:
        os.close(self.write)
        self.process.terminate()
        self.process.wait(timeout=30)
        os.close(self.read)

    def open(self, page: Path) -> None:
        answer = self.call("Page.navigate", url=page.resolve().as_uri())
        assert "errorText" not in answer, answer
        self.wait_for("document.readyState === 'complete'")

    def press(self, *keys: str) -> None:
        """Keys by their DevTools names; a single character is typed."""
        for key in keys:
            text = {"text": key} if len(key) == 1 else {}
            code = {"windowsVirtualKeyCode": CODES[key]} if key in CODES else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text, **code)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key, **code)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def evaluate(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"not within {seconds} s: {expression}"
            time.sleep(0.05)

    def downloaded(self, seconds: float = 30) -> Path:
        """The only file that the page has saved."""
        end = time.monotonic() + seconds
        while not (found := list(self.downloads.glob("*.json"))):
            assert time.monotonic() < end, f"nothing was saved within {seconds} s"
            time.sleep(0.05)
        assert len(found) == 1
        return found[0]

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the size of the window, in CSS pixels, and the preferred colours."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        image = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(image))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.last += 1
        message: dict[str, Any] = {"id": self.last, "method": method, "params": parameters}
        if self.session is not None and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self.last:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._note(answer)

    def _next(self, seconds: float = 60) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.read], [], [], seconds)
            assert ready, "the browser does not answer"
            part = os.read(self.read, 1 << 16)
            assert part, "the browser has ended"
            self.buffer += part
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        method, content = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(content["request"]["url"])
        elif method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.messages.append(json.dumps(content))
