"""Recording a console that goes back in time."""

from __future__ import annotations

from consoles import race_console

from mkds_gym.emulator import Keys, Rewind, Snapshot
from mkds_gym.recording.format import Start
from mkds_gym.recording.recorder import ConsoleRecorder
from mkds_gym.replay.replay import verify


def test_rewound_recording_counts_frames_from_its_start(race_start: Snapshot) -> None:
    history = Rewind()
    with race_console() as console:
        console.restore(race_start)
        recorder = ConsoleRecorder(console, Start("power_on"))
        recorder.loaded()  # the recording starts here, 100 frames after power-on

        def hold(keys: int) -> None:
            for _ in range(5):
                console.step(keys, 1, draw=False)
                recorder.step(keys)
            history.push(console.snapshot())

        for keys in (Keys.A, Keys.A | Keys.LEFT, Keys.B):
            hold(keys)
        for frames in (10, 5):
            before = history.back()
            assert before is not None
            console.restore(before)
            recorder.rewound()
            assert recorder.frames == frames
        hold(Keys.A | Keys.RIGHT)
        recording = recorder.recording()
    assert recording.start.frame == race_start.frame_count
    assert recording.keys.tolist() == [Keys.A] * 5 + [Keys.A | Keys.RIGHT] * 5
    verify(recording)
