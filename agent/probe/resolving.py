"""Floor 2, probe. What a DNS name stands for, asked of the gateway's own resolver.

Both families are asked about, and only both together are an answer: half of one would be taken for the whole. No answer (nobody
there, a server that fails) is told apart from the answer that there is nothing.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver

#: Seconds for one name, all servers and retries included.
PATIENCE: Final = 4.0

#: Names asked about at once.
_PARALLEL: Final = 16


async def resolve(names: Sequence[str], resolver: dns.asyncresolver.Resolver | None = None) -> Mapping[str, Mapping[str, Any]]:
    """Ask about each name.

    Args:
        names: full names.
        resolver: whom to ask; None: as /etc/resolv.conf says.

    Returns:
        for each name that got an answer, `addresses` (texts; none: the name stands for nothing) and `ttl` in seconds.
    """
    if resolver is None:
        try:
            resolver = dns.asyncresolver.Resolver()
        except dns.exception.DNSException:  # no /etc/resolv.conf, or nobody in it
            return {}
    turns = asyncio.Semaphore(_PARALLEL)
    asked = resolver

    async def one(name: str) -> Mapping[str, Any] | None:
        async with turns:
            return await _one(name, asked)

    distinct = list(dict.fromkeys(names))
    found = await asyncio.gather(*(one(name) for name in distinct))
    return {name: answer for name, answer in zip(distinct, found, strict=True) if answer is not None}


async def _one(name: str, resolver: dns.asyncresolver.Resolver) -> Mapping[str, Any] | None:
    addresses: list[str] = []
    ttls: list[int] = []
    for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
        try:
            answer = await resolver.resolve(f"{name}.", kind, raise_on_no_answer=False, search=False, lifetime=PATIENCE)
        except dns.resolver.NXDOMAIN:
            return {"addresses": [], "ttl": 0}
        except (dns.exception.DNSException, OSError):
            return None
        if answer.rrset is not None:
            addresses += [record.address for record in answer.rrset]
            ttls.append(answer.chaining_result.minimum_ttl)
    return {"addresses": addresses, "ttl": min(ttls, default=0)}
