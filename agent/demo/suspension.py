"""Floor 4, demo. The suspension: it comes by itself, refuses what was announced and nothing else, and survives a foreign flush.

Rules of this room: as in `prologue`.
"""

import time
from datetime import datetime

from agent.demo.cast import ANNOUNCED, BOUND, DEBTORS, DOOMED, KEPT, SOON
from agent.demo.knock import Knocker
from agent.demo.network import GATEWAY
from agent.demo.scene import Scene, moment
from agent.demo.teller import PLACE
from agent.event import parse_instant


def monday(scene: Scene) -> None:
    """09:00: the gateway suspends by itself, exactly what was announced."""
    teller, nine = scene.teller, moment("2026-03-30T09:00:00")
    fr, en = "Personne ne touche plus à rien ; l'heure passe toute seule.", "Nobody touches anything any more; time runs by itself."
    scene.chapter("2026-03-30T08:59:55", (fr, en))
    scene.biller.heartbeat()
    scene.preflight()
    scene.agrees()
    scene.streams_flow(*DOOMED)
    teller.expect(scene.gateway.now() < nine, ("tout cela avant 09:00:00", "all this before 09:00:00"), shown=False)
    ends = {name: scene.streams[name].wait_end(timeout=10) for name in DOOMED}
    scene.suspended = dict.fromkeys(DEBTORS, ANNOUNCED)
    there = scene.wait_agreed(SOON)
    teller.expect(
        there, ("za et zb sont suspendus sans que personne n'ait agi", "za and zb are suspended with nobody having acted")
    )
    scene.agrees()
    for name, (company, _, _) in DOOMED.items():
        _cut(scene, company, name, ends[name], nine)
    scene.streams_flow(*KEPT)
    scene.measure(("pendant la suspension de za et zb", "while za and zb are suspended"), shown=True)


def _cut(scene: Scene, company: str, name: str, ended: float | None, nine: datetime) -> None:
    """How fast one open connection died: by the clock, and since the decision in the ledger."""
    applied = next((event for event in scene.events(company) if event.type == "measure.applied"), None)
    if ended is None or applied is None:
        scene.teller.miss((f"{name} vit encore", f"{name} is still alive"))
        return
    at, times = scene.gateway.at(ended), applied.body["times"]
    decided, verified = parse_instant(times["decided"]), parse_instant(times["verified"])
    after, read_back = (scene.teller.number((then - decided).total_seconds() * 1000) for then in (at, verified))
    error, clock = scene.streams[name].tally().ended, f"{at.astimezone(PLACE):%H:%M:%S}.{at.microsecond // 1000:03}"
    scene.teller.expect(
        nine <= decided <= at and (at - nine).total_seconds() < SOON and error == "ECONNRESET",
        (
            f"{name} : coupée à {clock} ({error}), {after} ms après la décision ; règle relue dans le noyau après {read_back} ms",
            f"{name}: ended at {clock} ({error}), {after} ms after the decision; rule read back in the kernel after {read_back} ms",
        ),
    )


def evidence(scene: Scene) -> None:
    """What the kernel counted, and what the gateway says to whoever asks why."""
    teller = scene.teller
    teller.blank()
    teller.say(
        ("Paquets refusés, comptés par le noyau (IPv4 + IPv6) :", "Packets refused, as the kernel counted them (IPv4 + IPv6):")
    )
    for company in scene.stage.sites:
        found: dict[tuple[str, bool], int] = {}
        for one in scene.gateway.ask("explain", company=company)["counters"]:
            key = one["service"], ":" in one["attachment"]
            found[key] = found.get(key, 0) + one["packets"]
        wanted = {(name, six) for name in scene.suspended.get(company, ()) for six in (False, True)}
        names = sorted({name for name, _ in found})
        listed = ", ".join(f"{name} {found.get((name, False), 0)} + {found.get((name, True), 0)}" for name in names)
        good = set(found) == wanted and all(packets > 0 for packets in found.values())
        teller.expect(good, (f"{company} : {listed or 'aucune règle'}", f"{company}: {listed or 'no rule'}"))
    scene.command("explain", "za")


def flushed(scene: Scene) -> None:
    """Somebody empties nftables on the gateway; the rules come back, and nobody else notices."""
    teller = scene.teller
    fr = "Un tiers lance `nft flush ruleset` sur la passerelle ; des connexions neuves de za mesurent le trou."
    en = "Somebody runs `nft flush ruleset` on the gateway; fresh connections of za measure the gap."
    scene.chapter("2026-03-30T09:05:00", (fr, en))
    scene.biller.heartbeat()
    before = _repairs(scene)
    address, port = scene.address("za", "shared-documents", 4)
    with Knocker(scene.lab["za"], address, port) as knocker:
        knocker.wait(20, "refused", timeout=SOON)
        begun = time.monotonic()
        code = scene.lab[GATEWAY].start(["nft", "flush", "ruleset"]).wait(10)
        deadline = time.monotonic() + SOON
        while _repairs(scene) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        refused = knocker.wait(20, "refused", timeout=SOON)
        through = knocker.since(begun, "open")
    again = code == 0 and _repairs(scene) == before + 1
    teller.expect(again, ("vidé, vu, remis en place, inscrit au registre", "flushed, seen, put back, written to the ledger"))
    gap = (through[-1].ended - through[0].begun) * 1000 if through else 0.0
    closed = len(refused) >= 20 and (not through or through[-1].ended < refused[0].ended)
    count, shown = len(through), teller.number(gap)
    fr = f"za est de nouveau refusée : trou de {shown} ms, {count} connexion(s) passée(s)"
    en = f"za is refused again: a gap of {shown} ms, {count} connection(s) got through"
    teller.expect(closed and gap < BOUND, (fr, en))
    scene.streams_flow(*KEPT)
    scene.measure(("après la remise en place", "after the rules were put back"), shown=False)


def _repairs(scene: Scene) -> int:
    return sum(event.type == "measure.repaired" for event in scene.events("-"))
