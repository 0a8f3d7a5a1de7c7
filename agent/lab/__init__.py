"""Floor 2. A small laboratory: real network namespaces with real wires, listeners and traffic.

Rules of this room:

1. Nothing here is simulated, and nothing touches the network of the host: every interface is born inside a namespace
   that the laboratory made, and dies with it.
2. A laboratory is told what to be (`Topology`), not how to get there.
3. It cleans up on every way out: the end of the `with` block, an exception, Ctrl-C, SIGTERM. What a killed process left
   behind is removed by the next laboratory that is built.
4. The demo, the packet tests and the benchmarks share it. The enforcing roles never import it.
"""

from agent.lab.namespaces import (
    End,
    Laboratory,
    Link,
    Node,
    Route,
    Space,
    Topology,
    laboratory,
    private_network,
    remove_leftovers,
)
from agent.lab.traffic import Answer, Endpoint, Listener, Stream, Tally, listen, probe

__all__ = [
    "Answer",
    "End",
    "Endpoint",
    "Laboratory",
    "Link",
    "Listener",
    "Node",
    "Route",
    "Space",
    "Stream",
    "Tally",
    "Topology",
    "laboratory",
    "listen",
    "private_network",
    "probe",
    "remove_leftovers",
]
