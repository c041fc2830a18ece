"""`Isolation`: keeps an image from printing, from the user's files, and from the host's clock."""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import re
import types
from pathlib import Path
from typing import Any, Final

from mkds_gym.emulator.desmume import internals, trampolines
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND

logger = logging.getLogger(__name__)

_CONFIG_FOLDER: Final = b"/dev/null/mkds-gym"
"""The user's configuration folder, as the emulator sees it. No file can be created there."""
_BATTERY_FILE: Final = re.compile(rb"\A" + re.escape(_CONFIG_FOLDER) + rb".*\.dsv\Z", re.DOTALL)
"""Path of the console's battery memory in that folder."""

_CLOCK_START: Final = 1_230_768_000
"""The console's clock at power-on, in seconds since 1970: 1 January 2009, 0:00."""

_Printf = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p)
_Folder = ctypes.CFUNCTYPE(ctypes.c_void_p)
_Open = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p)


class Isolation:
    """Replaces functions of the system that an image calls.

    Only this image's calls change. Redirecting file descriptors would change those of the process,
    in all threads.

    Args:
        image: the loaded library, before its first call.
        data: contents of the library file.
        path: path of that file, for messages.

    Attributes:
        imports: the functions that the image calls; None if they cannot be replaced.
        quieted: the image's output is caught before it reaches the process's.
        private_battery: the battery file is in memory, and new for each ROM.
        fixed_clock: the console's clock counts frames instead of the host's seconds.
        printed: the last argument of each format that the image printed.
    """

    def __init__(self, image: ctypes.CDLL, data: bytes, path: Path) -> None:
        self._image = image
        self._battery = -1
        self.quieted = self.private_battery = self.fixed_clock = False
        self.printed: dict[bytes, int | None] = {}
        self.imports: internals.Imports | None = None
        try:
            imports = internals.Imports(image, data)
        except (ValueError, OSError) as error:
            logger.warning(
                "cannot replace the imports of '%s' (%s): the battery file is in the user's "
                "configuration folder, and the console's clock is the host's",
                path,
                error,
            )
            return
        self.imports = imports  # keeps the functions below alive
        libc = ctypes.CDLL(None)
        printf = trampolines.python_free(_Printf, self.printed.__setitem__)
        quieted = [imports.replace("printf", printf)]
        quieted += [imports.replace(name, trampolines.DO_NOTHING) for name in ("puts", "putchar")]
        self.quieted = all(quieted) and self._quiet_cout(imports)
        folder = ctypes.create_string_buffer(_CONFIG_FOLDER)
        get_folder = functools.partial(ctypes.addressof, folder)
        self._fopen = libc.fopen
        self._fopen.restype = ctypes.c_void_p
        self._redirect_battery()
        self.private_battery = imports.replace(
            "fopen64", trampolines.python_free(_Open, self._fopen)
        ) and imports.replace("g_get_user_config_dir", trampolines.python_free(_Folder, get_folder))
        self.fixed_clock = self._fix_clock(imports, trampolines.address_of(libc.gmtime_r))

    def _quiet_cout(self, imports: internals.Imports) -> bool:
        """Keep the image from printing through the C++ stream ``cout``."""
        names = (  # both return their first argument, the stream
            "_ZSt16__ostream_insertIcSt11char_traitsIcEERSt13basic_ostreamIT_T0_ES6_PKS3_l",
            "_ZNSo3putEc",
        )
        try:
            cout = internals.require_symbol(self._image, "_ZSt4cout")
            functions = [internals.require_symbol(self._image, name) for name in names]
        except ValueError:
            return False
        code = (trampolines.unless_first(cout, function) for function in functions)
        return imports.replace_by_code(dict(zip(names, code, strict=True)))

    def _fix_clock(self, imports: internals.Imports, gmtime_r: int) -> bool:
        """Start the console's clock at a fixed time, and let it count frames."""
        frames = internals.symbol_address(self._image, "currFrameCounter")
        if frames is None:
            return False
        self._broken_down_time = ctypes.create_string_buffer(128)  # a struct tm, 56 bytes
        result = ctypes.addressof(self._broken_down_time)
        return imports.replace_by_code(
            {
                "time": trampolines.clock(_CLOCK_START, frames, FRAMES_PER_SECOND),
                "localtime": trampolines.with_second(result, gmtime_r),
            }
        )

    def set_battery(self, file: int) -> None:
        """Keep the battery memory in another open file; -1 is no file."""
        old, self._battery = self._battery, file
        if self.private_battery:
            self._redirect_battery()
        if old >= 0:
            os.close(old)

    def _redirect_battery(self) -> None:
        """Let the emulator open our file instead of the battery file."""
        name: Any = ctypes.c_char_p
        if self._battery >= 0:
            # ctypes converts an argument with `from_param`; this one runs no Python code.
            path = b"/proc/self/fd/%d" % self._battery
            name = types.SimpleNamespace(from_param=functools.partial(_BATTERY_FILE.sub, path))
        self._fopen.argtypes = (name, ctypes.c_char_p)
