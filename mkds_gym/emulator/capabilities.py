"""`Capabilities`: what a console can do with the installed emulator."""

from __future__ import annotations

from dataclasses import dataclass

from mkds_gym.emulator.desmume.library import Library


@dataclass(frozen=True)
class Capabilities:
    """Fast paths and guarantees that a console has with the installed emulator.

    Attributes:
        known_build: the emulator library is a build that mkds-gym knows. If not, everything that
            depends on its internals is off.
        jit: the recompiler runs the processors, 2 to 4 times as fast as the interpreter.
        dummy_sound: no sound is mixed, and no audio device is opened.
        skip_frames: frames that nobody looks at are not drawn. Tested when an emulator starts;
            every frame is drawn if it does not work.
        quiet: the emulator's output is caught. If not, standard output is closed for a moment
            around calls that print.
        private_battery: the battery file is in memory, empty at power-on, and gone with the
            console. If not, it is in the user's configuration folder.
        fixed_clock: the console's clock starts at a fixed time and counts frames. If not, it is the
            host's, and a game that reads it may differ between runs.
        memory_states: snapshots do not go through files.
        undrawn_geometry: the geometry of frames that are not drawn is left out, as far as a program
            cannot observe it: vertices are not transformed, polygons not clipped and sorted.
    """

    known_build: bool
    jit: bool
    dummy_sound: bool
    skip_frames: bool
    quiet: bool
    private_battery: bool
    fixed_clock: bool
    memory_states: bool
    undrawn_geometry: bool

    @classmethod
    def of(cls, library: Library) -> Capabilities:
        """Return the capabilities of a console that this library runs."""
        return cls(
            known_build=library.build is not None,
            jit=library.jit,
            dummy_sound=library.muted,
            skip_frames=bool(library.skips_frames),
            quiet=library.isolation.quieted,
            private_battery=library.isolation.private_battery,
            fixed_clock=library.isolation.fixed_clock,
            memory_states=library.memory_states is not None,
            undrawn_geometry=library.undrawn is not None,
        )
