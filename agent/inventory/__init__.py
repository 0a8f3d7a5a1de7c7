"""Floor 2. The inventory on disk: compiled once from the files people write, then looked up company by company.

Rules of this room:

1. One compile, one file, named after the digest of its sources and never changed afterwards. It appears by a rename,
   so a reader sees a whole inventory or none.
2. A compile streams: it holds the services, the policies and a few numbers per attachment, never all companies.
3. The daemon compiles in a child process, which can neither stall its loop nor bloat it, and whose death is one more
   problem to report.
4. A directory that fails leaves every earlier inventory in place.
"""

from agent.inventory.compiling import compile_directory, compile_in_child, keep_in_force, last_in_force
from agent.inventory.files import check_directory
from agent.inventory.store import SqliteInventory, open_inventory

__all__ = [
    "SqliteInventory",
    "check_directory",
    "compile_directory",
    "compile_in_child",
    "keep_in_force",
    "last_in_force",
    "open_inventory",
]
