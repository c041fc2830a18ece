import pickle

import pytest
from race_memory import RaceMemory, drive, fork

from mkds_gym.components.events import EVENTS, Clock, Event, Finish, Stuck, WrongWay
from mkds_gym.race.lengths import STUCK_DISTANCE
from mkds_gym.race.memory_layout import DRIVER_FLAG_RESPAWNING


def first(event, race, frames, **changes):
    """The number of the frame, from 1, in which the event happens; None if it does not."""
    event.reset()
    for frame in range(1, frames + 1):
        if event.update(race.frame(**changes), fork()):
            return frame
    return None


def test_finish_happens_when_the_driver_has_finished():
    race, event = RaceMemory(), Finish()
    event.reset()
    assert not event.update(race.frame(lap=3), fork())
    assert event.update(race.frame(finished=True), fork())
    assert event.update(race.frame(), fork())


def test_the_clock_allows_its_budget_from_where_the_episode_starts():
    assert first(Clock(100), RaceMemory(), 200) == 100
    race = RaceMemory()
    race.race["frame"] = 5000
    event = Clock(100)
    assert first(event, race, 200) == 100
    assert first(event, race, 200) == 100, "reset starts the budget again"
    assert Clock().frames == 7200


def test_the_clock_waits_in_the_countdown():
    race, event = RaceMemory(), Clock(10)
    event.reset()
    for _ in range(50):
        assert not event.update(race.frame(0), fork())
    assert [event.update(race.frame(), fork()) for _ in range(10)] == [False] * 9 + [True]


def test_a_kart_that_stands_is_stuck():
    assert first(Stuck(300), RaceMemory(), 400, position=(0, 0, 10)) == 300
    assert first(Stuck(7), RaceMemory(), 400, position=(0, 0, 10)) == 7
    assert Stuck().frames == 300


def crawl(event, speed, frames):
    race = RaceMemory()
    event.reset()
    for frame in range(1, frames + 1):
        if event.update(race.frame(position=(0, 0, 1 + speed * frame)), fork()):
            return frame
    return None


def test_a_kart_that_crawls_is_stuck_and_one_that_walks_is_not():
    # STUCK_DISTANCE in 100 frames is the limit.
    assert crawl(Stuck(100), 0.008 * STUCK_DISTANCE, 400) is not None
    assert crawl(Stuck(100), 0.018 * STUCK_DISTANCE, 400) is None


def test_driving_back_and_forth_is_stuck():
    race, event = RaceMemory(), Stuck(200)
    event.reset()
    happened = None
    for frame in range(1000):
        swing = 40 * ((frame // 50) % 2)
        if event.update(race.frame(position=(0, 0, 10 + swing)), fork()):
            happened = frame
            break
    # The first swing forward is progress, none after it.
    assert happened is not None
    assert 200 <= happened <= 270


def test_kart_without_control_is_not_stuck():
    race = RaceMemory()
    race.race["not_controllable"] = 1
    assert first(Stuck(50), race, 500) is None
    race.race["not_controllable"] = 0
    race.driver["flags"] = DRIVER_FLAG_RESPAWNING
    assert first(Stuck(50), race, 500) is None
    race.driver["flags"] = 0
    assert first(Stuck(50), race, 500) == 50


def test_the_wrong_way_counts_on_end():
    race, event = RaceMemory(), WrongWay(5)
    shown = [1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1]
    event.reset()
    happened = [event.update(race.frame(wrong_way=bool(s)), fork()) for s in shown]
    assert happened == [False] * 9 + [True, True]
    assert WrongWay().frames == 180


@pytest.mark.parametrize("name", EVENTS.names())
def test_events_speak_the_protocol_and_pickle(name):
    event = EVENTS.make(name)
    assert isinstance(event, Event)
    assert event.name == name
    lap = drive()
    event.reset()
    for state in lap.states[:300]:
        assert not event.update(state, lap.course)
    kept = pickle.loads(pickle.dumps(event))
    assert kept.update(lap.states[300], lap.course) is False
    assert len(pickle.dumps(event)) < 1000


def test_a_lap_that_is_driven_ends_by_the_finish_alone():
    lap = drive()
    events = [EVENTS.make(name) for name in EVENTS]
    for event in events:
        event.reset()
    happened = [
        (event.name, index)
        for index, state in enumerate(lap.states)
        for event in events
        if event.update(state, lap.course)
    ]
    assert happened == [("finish", len(lap.states) - 1)]


@pytest.mark.parametrize("name", ["clock", "stuck", "wrong_way"])
@pytest.mark.parametrize("bad", ["0", "-5", "1.5", "nan", "inf", "soon"])
def test_bad_numbers_of_frames_are_refused(name, bad):
    with pytest.raises(ValueError, match=name):
        EVENTS.make(f"{name}:{bad}")


def test_numbers_of_frames_are_taken_from_the_name():
    assert EVENTS.make("clock:60").frames == 60
    assert EVENTS.make("stuck:1e2").frames == 100
    with pytest.raises(ValueError, match="takes no number"):
        EVENTS.make("finish:3")
    with pytest.raises(ValueError, match="did you mean 'stuck'"):
        EVENTS.make("stcuk")
