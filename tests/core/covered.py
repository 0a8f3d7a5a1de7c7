"""Which files coverage is asked of: those of floors 0 and 1, by the table of rooms in `test_house`.

`python -m tests.core.covered` prints them as `coverage report --include` takes them.
"""

from tests.core.test_house import AGENT, ROOMS, room_of


def covered() -> list[str]:
    """The modules of floors 0 and 1, from the root of the project."""
    found = [module.relative_to(AGENT) for module in sorted(AGENT.rglob("*.py"))]
    rooms = {module: ROOMS.get(room_of(module)) for module in found}
    return [f"{AGENT.name}/{module}" for module, room in rooms.items() if room is not None and room.floor <= 1]


if __name__ == "__main__":
    print(",".join(covered()))
