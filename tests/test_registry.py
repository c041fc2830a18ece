"""A registry makes components from names, and its errors suggest names."""

from typing import Protocol, runtime_checkable

import pytest

from mkds_gym.components.registry import Registry


class Part:
    def __init__(self, size: int = 3) -> None:
        self.size = size


class Fixed:
    pass


@pytest.fixture
def registry() -> "Registry[object]":
    registry: Registry[object] = Registry("part")
    registry.register("part", Part)
    registry.register("fixed", Fixed)
    return registry


def test_a_number_behind_a_colon_is_the_argument(registry: "Registry[Part]") -> None:
    assert registry.make("part").size == 3
    assert registry.make("part:9").size == 9
    assert registry.make("part:0.5").size == 0.5


def test_a_misspelt_name_is_named_with_the_nearest(registry: "Registry[object]") -> None:
    with pytest.raises(ValueError, match=r"unknown part 'prat'.*did you mean 'part'.*one of part"):
        registry.make("prat")
    with pytest.raises(ValueError, match=r"unknown part 'parts'.*did you mean 'part'"):
        registry.make("parts:9")


@pytest.mark.parametrize("spec", ["part:", "part:x", "fixed:3"])
def test_a_bad_argument_is_refused(registry: "Registry[object]", spec: str) -> None:
    with pytest.raises(ValueError, match=spec):
        registry.make(spec)


@pytest.mark.parametrize("name", ["part", "", "a:b", "a b"])
def test_a_bad_or_taken_name_is_refused(registry: "Registry[object]", name: str) -> None:
    with pytest.raises(ValueError, match="part"):
        registry.register(name, Part)


@runtime_checkable
class Sized(Protocol):
    size: int


STANDING = Part(7)


def test_custom_component_is_named_by_its_module() -> None:
    registry: Registry[Part] = Registry("part", Sized)
    here = __name__
    assert registry.make(f"{here}:Part").size == 3
    assert registry.make(f"{here}:Part:9").size == 9
    made = registry.make(f"{here}:STANDING")
    assert made.size == 7
    assert made is not STANDING
    for spec, message in (
        (f"{here}:Fixed", "is not a part.*Sized"),
        (f"{here}:STANDING:3", "takes no number"),
        (f"{here}:Fixed:3", "takes no number"),
        (f"{here}:Prat", "Prat"),
        ("no_such_module:Part", "No module named 'no_such_module'"),
        (":Part", "cannot be imported"),
        (f"{here}.Part", "module:Class for a custom part"),
    ):
        with pytest.raises(ValueError, match=message):
            registry.make(spec)


class Deadly:
    size = 1

    def __init__(self) -> None:
        raise AssertionError("called")


@runtime_checkable
class Runs(Protocol):
    def run(self) -> None: ...


def test_imported_object_is_checked_before_it_is_called() -> None:
    registry: Registry[object] = Registry("part", Runs, functions=True)
    for spec in (f"{__name__}:Deadly", "sys:exit", "os:system", "os:abort", "os:path", "x y:z"):
        with pytest.raises(ValueError, match=r"is not a part|cannot be imported"):
            registry.make(spec)


def test_errors_survive_pickling() -> None:
    import pickle

    from mkds_gym.errors import CourseFormatError

    error = CourseFormatError("too few prisms", 0x3C)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "too few prisms (at offset 0x3c)"
    assert again.offset == 0x3C
