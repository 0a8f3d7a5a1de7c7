"""Floor 4. `python -m agent` is `ecluse`.

Rules of this room: nothing but the call.
"""

from agent.cli import main

if __name__ == "__main__":
    main(prog_name="ecluse")
