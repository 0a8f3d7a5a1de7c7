"""Floor 3. Everything remote (stage 4): the path on which it is refused is in the kernel while somebody is at it, and only then.

Rules of this room:

1. The path costs every packet on the gateway some look-ups, so nobody has it there for later. It comes before the first member
   and goes after the last one, each in one transaction, as part of the structure.
2. What the gateway goes by (`rules`) follows the kernel: rules with the path are in force once the kernel took it, and those
   without it once it let it go. So whatever fails here, everything else goes on as before.
3. Without the path nothing of such a measure stands: service on. A new one waits, and says why.
4. Nobody who is restored waits for any of it: members are gone before the path goes.
"""

from collections.abc import Iterable

from agent.errors import KernelError, ProofFailed
from agent.gateway import Gateway, log
from agent.inforce import InForceRules
from agent.leases import Lease
from agent.model import Company
from agent.rules import Change, Key, Use
from agent.ruleset import candidates, is_exception

#: Under this name a failure is shown.
_FAILURE = "stage 4"

#: Why a measure waits, in French and in English.
Why = tuple[str, str]


def enter(gateway: Gateway, company_id: str, leases: Iterable[Lease]) -> Why | None:
    """Note whether a company is at it, and have the path there if so. Returns why it can not be there, if it can not."""
    if not any(lease.remote for lease in leases):
        gateway.remote.discard(company_id)
        return None
    gateway.remote.add(company_id)
    if gateway.rules.needs.rest is not None:
        return None
    try:
        rules = _with_path(gateway.rules)
        gateway.kernel.apply(Change(structure=rules.structure))
    except (KernelError, ProofFailed) as error:
        return _failed(gateway, company_id, error)
    _take(gateway, rules, "stage 4 begins: the path on which everything remote is refused is there")
    return None


def leave(gateway: Gateway) -> None:
    """Take the path away when nobody is at it any more. What goes wrong is shown; the path harms nobody, and it is tried again."""
    if gateway.remote or gateway.rules.needs.rest is None:
        return
    try:
        rules = gateway.rules.for_stage_4(on=False)
        if gateway.kernel.observe(rules.structure).structure != "absent":  # who took our table away did not ask for it back
            gateway.kernel.apply(Change(structure=rules.structure))
    except (KernelError, ProofFailed) as error:
        _failed(gateway, "", error)
        return
    _take(gateway, rules, "nobody is at stage 4 any more: its path is gone")


def at_start(gateway: Gateway) -> None:
    """Go by rules with the path if by the ledger somebody is at it; before the structure is compared with the kernel's."""
    if not gateway.remote or gateway.rules.needs.rest is not None:
        return
    try:
        rules = _with_path(gateway.rules)
        gateway.kernel.check(Change(structure=rules.structure))
    except (KernelError, ProofFailed) as error:
        _failed(gateway, "", error)
        return
    gateway.rules = rules


def after_reload(gateway: Gateway, rules: InForceRules) -> InForceRules:
    """Rules of another inventory, with the path if it is there now and they can have it."""
    if gateway.rules.needs.rest is None:
        return rules
    try:
        return rules.for_stage_4(on=True)
    except ProofFailed as error:
        _failed(gateway, "", error)
        return rules


def outdated(gateway: Gateway, was: Company, before: InForceRules) -> tuple[Key, ...]:
    """After a reload: the members of a company at stage 4 that might refuse it something it must keep by the new inventory.

    Args:
        gateway: with the new inventory in force.
        was: the company as it was.
        before: the rules that were in force until now.
    """
    rules, needs = gateway.rules, before.needs
    if needs.rest is None or rules.needs.rest is None:  # whatever there was went with its sets
        return ()
    refusing = {members.name for members in rules.structure.sets if members.use in (Use.GATE, Use.REST)}
    own, now = set(candidates(was, before.services, gateway.links, needs)), rules.inventory.company(was.id)
    kept = () if now is None else candidates(now, rules.services, gateway.links, rules.needs)
    if now is not None and not any(is_exception(key.set) and key not in own for key in kept):
        return ()
    return tuple(sorted(key for key in own if key.set in refusing))


def _with_path(rules: InForceRules) -> InForceRules:
    found = rules.for_stage_4(on=True)
    if found.needs.rest is None:
        raise ProofFailed(what="no policy in force takes everything remote", witness="any packet")
    return found


def _take(gateway: Gateway, rules: InForceRules, what: str) -> None:
    gateway.rules = rules
    gateway.failures.pop(_FAILURE, None)
    log.info("%s", what)


def _failed(gateway: Gateway, company_id: str, error: KernelError | ProofFailed) -> Why:
    whose = f"{company_id}: " if company_id else ""
    if gateway.failures.get(_FAILURE) != str(error):
        log.error("%sstage 4: %s", whose, error)
    gateway.failures[_FAILURE] = str(error)
    gateway.metrics.failed("kernel" if isinstance(error, KernelError) else "proof")
    return (
        f"{whose}palier 4, tout ce qui est distant : rien n'en est refusé, service rendu ({error})",
        f"{whose}stage 4, everything remote: nothing of it is refused, the service stays on ({error})",
    )
