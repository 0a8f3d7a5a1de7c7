"""Floor 4. The values that `report` and the enforcer give, as lines for people.

Rules of this room:

1. It only words and lays out; a missing or unknown value is shown as such and never stops the answer.
2. What asks for attention is coloured, and said in words as well.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from agent.cli.screen import Screen, bad, bold, good, open_point, safe, table, width
from agent.cli.steps import steps
from agent.cli.words import LABELS, LEDGER, OUT, POLICY, SEEN, STATES, STRUCTURES, VERDICTS, heads, named, word


def facts(screen: Screen, pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Named facts below each other; those without a value are left out."""
    kept = [(screen.words(LABELS[name]), text) for name, text in pairs if text]
    size = max((len(name) for name, _ in kept), default=0)
    return [f"{name:<{size}}  {text}" for name, text in kept]


# --- status and plan ----------------------------------------------------------------------------------------------


def status(screen: Screen, data: Mapping[str, Any]) -> list[str]:
    """The state of the gateway: the host, the policies, the kernel, the ledger, who is suspended, who waits."""
    policy, kernel, ledger, companies = (part(data, name) for name in ("policy", "kernel", "ledger", "companies"))
    seen, cut = companies.get("known", "?"), companies.get("with_measure", "?")
    validity = word(screen, POLICY, "valid" if policy.get("valid") else "refused")
    writable = word(screen, LEDGER, "writable" if ledger.get("writable") else "unwritable")
    silent = bad(screen.words(("muet", "silent")))
    lines = [bold(f"ecluse {safe(data.get('version', '?'))}")]
    lines += facts(
        screen,
        [
            ("ceiling", safe(data.get("mode_ceiling", "?"))),
            ("policies", f"{safe(policy.get('digest', ''))[:12]} {screen.moment(policy.get('loaded_at'))}  {validity}"),
            ("kernel", f"{_backend(screen, kernel)}  {word(screen, STRUCTURES, kernel.get('structure', 'unknown'))}"),
            ("cycle", f"{screen.moment(kernel.get('last_good_cycle'))}  {safe(kernel.get('last_sentence') or '')}".strip()),
            ("ledger", f"{safe(ledger.get('seq', '?'))} {screen.words(('faits', 'facts'))}  {writable}"),
            ("pause", _pause(screen, data)),
            ("breaker", _breaker(screen, data)),
            *(("standing", _standing(screen, one)) for one in data.get("standing") or ()),
            ("local", _local(screen, part(data, "local"))),
            ("companies", screen.words((f"{seen} connues, {cut} suspendues", f"{seen} known, {cut} suspended"))),
            *(("feed", f"{safe(name)}  {screen.moment(at) or silent}") for name, at in part(data, "feeds").items()),
        ],
    )
    lines += ["", *_measures(screen, data)]
    if waiting := data.get("waiting"):
        rows = [[safe(one.get("company")), safe(one.get("case")), safe(one.get("what"))] for one in waiting]
        lines += ["", *table(heads(screen, "company", "case", "waits"), rows, width())]
    lines += _links(screen, data)
    lines += [f"{open_point(screen.words(LABELS['address']))}  {screen.of(one)}" for one in data.get("names") or ()]
    alarms = [("held", data.get("held")), ("failure", data.get("failures")), ("policy", policy.get("problems"))]
    lines += [f"{bad(screen.words(LABELS[name]))}  {safe(text)}" for name, texts in alarms for text in texts or ()]
    return [*lines, "", *further] if (further := steps(screen, data)) else lines


def _links(screen: Screen, data: Mapping[str, Any]) -> list[str]:
    """Links behind which nothing can be suspended now, each with the reason."""
    return [
        f"{open_point(screen.words(LABELS['link']))}  {safe(one.get('link'))}: {screen.of(one)}" for one in data.get("links") or ()
    ]


def _backend(screen: Screen, kernel: Mapping[str, Any]) -> str:
    """The backend, and why it is this one."""
    said = kernel.get("why") or {}
    reason = safe(screen.words((said.get("fr", ""), said.get("en", ""))))
    return safe(kernel.get("name", "?")) + (f" ({reason})" if reason else "")


def _pause(screen: Screen, data: Mapping[str, Any]) -> str:
    stop = part(data, "stop")
    if general := part(stop, "all"):
        cut, none = ("tout est rétabli", "everything is restored"), ("aucune nouvelle suspension", "no new suspension")
        said = f"{safe(general.get('by'))}, {screen.moment(general.get('at'))}: {safe(general.get('reason'))}"
        return f"{open_point(screen.words(cut if general.get('restore') else none))}  ({said})"
    return open_point(named(part(stop, "companies"))) or screen.words(("non", "no"))


def _breaker(screen: Screen, data: Mapping[str, Any]) -> str:
    breaker = part(data, "breaker")
    if breaker.get("open"):
        causes = "; ".join(f"{screen.moment(one.get('at'))} {screen.of(one)}" for one in breaker.get("causes") or ())
        return bad(screen.words(("OUVERT, rien de nouveau n'est suspendu", "OPEN, nothing new is suspended"))) + f"  ({causes})"
    if breaker.get("comparing"):
        return open_point(screen.words(("politiques nouvelles en comparaison", "new policies are being compared")))
    return ""


def _local(screen: Screen, local: Mapping[str, Any]) -> str:
    """How local applications are seen; "" where nobody looks."""
    if not local.get("configured"):
        return ""
    if not local.get("up"):
        silent = bad(screen.words(("les essais ne répondent pas", "the probes give no answer")))
        return f"{silent}  {safe(local.get('why') or '')}"
    states = part(local, "states")
    text = ", ".join(f"{safe(states.get(name, 0))} {word(screen, SEEN, name)}" for name in SEEN if states.get(name))
    return f"{text}  {screen.moment(local.get('last_answer'))}" + "".join(
        f"\n  {open_point(safe(one))}" for one in (local.get("silent") or ())[:5]
    )


def _standing(screen: Screen, one: Mapping[str, Any]) -> str:
    until = screen.words((f"jusqu'au {screen.moment(one.get('expires_at'))}", f"until {screen.moment(one.get('expires_at'))}"))
    former = "" if one.get("current") else bad(screen.words(("  version précédente", "  former version")))
    return f"{safe(one.get('policy'))}  {safe(one.get('by'))} ({safe(one.get('role'))}), {until}{former}"


def _measures(screen: Screen, data: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            safe(one.get("company")),
            safe(one.get("name", "")),
            safe(one.get("case")),
            _stage(screen, one),
            screen.moment(one.get("lease_until")),
            named(one.get("services")),
        ]
        for one in data.get("measures") or ()
    ]
    if not rows:
        return [screen.words(("Rien n'est suspendu.", "Nothing is suspended."))]
    lines = table(heads(screen, "company", "name", "case", "stage", "lease", "suspended"), rows, width())
    if more := data.get("more"):
        lines.append(screen.words((f"... et {more} autres", f"... and {more} more")))
    return lines


def _stage(screen: Screen, one: Mapping[str, Any]) -> str:
    """The stage of a measure, and whether its hours leave it without effect just now."""
    text = safe(one.get("stage") or "?")
    return text if one.get("in_effect", True) else text + screen.words((" (hors horaire)", " (outside its hours)"))


def plan(screen: Screen, data: Mapping[str, Any]) -> list[str]:
    """What would change in the kernel, like a diff."""
    texts = [safe(text) for text in data.get("lines") or ()]
    if not texts:
        return [screen.words(("Rien ne changerait.", "Nothing would change."))]
    add, delete = data.get("adds", 0), data.get("deletes", 0)
    summary = screen.words((f"{add} à refuser, {delete} à rétablir", f"{add} to refuse, {delete} to restore"))
    return [*(_step(text) for text in texts), summary]


def _step(text: str) -> str:
    """A line of a plan in its tone: the mark comes first, or after the company's name."""
    mark = text[:1] if text[:2] in ("+ ", "- ", "~ ") else text.partition(": ")[2][:1]
    return {"+": open_point, "-": good}.get(mark, str)(text)


# --- explain ------------------------------------------------------------------------------------------------------


def explain(screen: Screen, data: Mapping[str, Any]) -> list[str]:
    """One company: what is suspended or not, why, and what would change it."""
    zone = data.get("timezone")
    outside = "" if data.get("known", True) else "  " + bad(screen.words(("hors inventaire", "not in the inventory")))
    packets = [one.get("packets") for one in data.get("counters") or ()]
    lines = [bold(screen.of(part(data, "answer")) or safe(data.get("company", "?")))]
    lines += facts(
        screen,
        [
            ("company", safe(data.get("company", "?")) + outside),
            ("group", safe(data.get("group") or "")),
            ("policy", safe(data.get("policy") or "")),
            ("at", f"{screen.moment(data.get('at'), zone)}  {safe(zone or '')}"),
            ("doubts", bad(named(data.get("doubts"))) if data.get("doubts") else ""),
            ("counters", str(sum(each for each in packets if isinstance(each, int))) if packets else ""),
        ],
    )
    lines += _links(screen, data)
    lines += [f"{bad(screen.words(LABELS['held']))}  {screen.of(held)}"] if (held := part(data, "held")) else []
    if invoices := data.get("invoices"):
        lines += ["", *_invoices(screen, invoices)]
    if local := data.get("local"):
        lines += ["", *_seen(screen, local)]
    for case in data.get("cases") or ():
        lines += ["", *_case(screen, case, zone)]
    if later := screen.moment(data.get("next_at"), zone):
        end = (f"Sans fait nouveau, à revoir le {later}.", f"Without a new fact, to be looked at again {later}.")
    else:
        end = ("Sans fait nouveau, rien ne changera.", "Without a new fact, nothing will change.")
    return [*lines, "", screen.words(end)]


def _invoices(screen: Screen, invoices: Iterable[Mapping[str, Any]]) -> list[str]:
    rows = [
        [
            safe(one.get("invoice")),
            screen.day(one.get("due_on")),
            screen.amount(one.get("principal"), one.get("currency")),
            screen.amount(one.get("remaining"), one.get("currency")),
            word(screen, OUT, one.get("out") or ""),
        ]
        for one in invoices
    ]
    return table(heads(screen, "invoice", "due", "principal", "remaining", "out"), rows, width())


def _seen(screen: Screen, local: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is looked at on the sites of a company, and what was seen last."""
    rows = []
    for one in local:
        usual, port = part(one, "baseline"), one.get("port")
        before = f"{usual.get('hours')} h, {usual.get('availability')} %, {usual.get('ms')} ms" if usual else ""
        where = f"{safe(one.get('probe'))} {safe(one.get('address'))}" + (f" {safe(port)}" if port else "")
        seen = f"{word(screen, SEEN, one.get('state'))} {safe(one.get('why') or '')}".strip()
        rows.append([f"{safe(one.get('site'))}.{safe(one.get('name'))}", where, seen, before])
    return table(heads(screen, "local", "watched", "state", "baseline"), rows, width())


def _case(screen: Screen, case: Mapping[str, Any], zone: Any) -> list[str]:
    notice, order = part(case, "notice"), part(case, "order")
    effect = screen.moment(notice.get("effective_at"), zone) or screen.words(("sans effet", "without effect"))
    lines = [f"{bold(safe(case.get('case')))}  {word(screen, STATES, case.get('state'))}"]
    lines += facts(
        screen,
        [
            ("decision", screen.of(part(case, "reason"))),
            ("mode", safe(case.get("mode") or "")),
            ("services", named(case.get("services"))),
            ("stage", screen.of(part(case, "effect"))),
            ("notice", f"{safe(notice.get('id'))}  {safe(notice.get('channel'))}  {effect}"),
            ("invoices", named(case.get("invoices"))),
            ("owed", screen.amount(case.get("owed"), case.get("currency"))),
            ("order", f"{safe(order.get('order'))}  {screen.moment(order.get('applied_at'), zone)}" if order else ""),
            ("lease", screen.moment(case.get("lease_until"), zone)),
            ("holds", named(f"{one.get('kind')} ({one.get('hold')})" for one in case.get("holds") or ())),
            ("approvals", named(f"{one.get('by')} ({one.get('role')})" for one in case.get("approvals") or ())),
            ("overrides", "; ".join(_override(screen, one, zone) for one in case.get("overrides") or ())),
            ("waived", safe(part(case, "waived").get("why") or "")),
            ("missing", open_point(named(case.get("missing"))) if case.get("missing") else ""),
            ("ahead", ahead(screen, part(case, "ahead"), zone)),
            ("way_back", good(screen.of(part(case, "way_back"))) if case.get("way_back") else ""),
        ],
    )
    rows = [
        [
            safe(check.get("code")),
            word(screen, VERDICTS, check.get("verdict")),
            screen.of(part(check, "title")),
            screen.of(part(check, "reason")),
        ]
        for check in case.get("checks") or ()
    ]
    return [*lines, *table(heads(screen, "check", "verdict", "about", "why"), rows, width())] if rows else lines


def ahead(screen: Screen, data: Mapping[str, Any], zone: Any) -> str:
    """What time alone will do to a case, in one line; "" for nothing that is worth telling."""
    ready, cut, back = (screen.moment(data.get(name), zone) for name in ("ready_at", "suspend_at", "restore_at"))
    if cut:
        return open_point(screen.words((f"suspendu le {cut} sans fait nouveau", f"suspended {cut} without a new fact")))
    if back:
        return screen.words((f"rétabli au plus tard le {back}", f"restored {back} at the latest"))
    missing = "; ".join(f"{safe(one.get('code'))} {screen.of(one)}" for one in data.get("missing") or ())
    if not missing:
        return ""
    if ready:
        return screen.words((f"prêt le {ready}, puis il faut : {missing}", f"ready {ready}, then needs: {missing}"))
    return screen.words((f"il faut : {missing}", f"needs: {missing}"))


def _override(screen: Screen, one: Mapping[str, Any], zone: Any) -> str:
    until = screen.moment(one.get("expires_at"), zone)
    return f"{safe(one.get('check'))} {safe(one.get('by'))} ({safe(one.get('role'))}), {until}: {safe(one.get('reason'))}"


def part(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of an answer that has parts itself; empty when there is none."""
    value = data.get(name)
    return value if isinstance(value, Mapping) else {}
