"""A second reading of the facts, as plain as can be: lists and loops over every event, nothing kept, nothing shared with the agent.

Written from the domain's sections 2.6, 4.1 and 4.2 for the stateful model test. What the domain leaves open is decided as the
design says: where statements about one thing differ, what favours the customer counts. Speed is no aim; that a person can check
each function against the sentence of the domain beside it is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import holidays

#: Of the hold types of section 3.3 those that bring a suspended service back; the others freeze escalation only.
FREEZES_ONLY = {"dispute", "stale_data", "clock", "policy_review"}

#: By these what is due was agreed or judged anew: a notice sent before one of them was lifted is spent.
RENEWING = {"payment_plan", "insolvency", "court", "grace_period"}

CHANNELS = ["email", "lrar", "lre_q", "commissaire_de_justice"]

_HOLIDAYS = {year: frozenset(holidays.country_holidays("FR", years=year)) for year in range(2025, 2028)}


@dataclass(frozen=True)
class Said:
    """One event as these files see it."""

    type: str
    at: datetime
    id: str
    source: str
    body: Any


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


# --- days ---------------------------------------------------------------------------------------------------------


def is_holiday(day: date) -> bool:
    return day in _HOLIDAYS[day.year]


def is_working(day: date) -> bool:
    return day.weekday() < 5 and not is_holiday(day)


def midnight(day: date, zones: Iterable[str]) -> datetime:
    """When a day has begun in every one of these zones."""
    return max(datetime.combine(day, time(0), ZoneInfo(zone)).astimezone(UTC) for zone in zones)


def local(at: datetime, zone: str) -> datetime:
    return at.astimezone(ZoneInfo(zone))


def window_open(now: datetime, zone: str, policy: Any) -> bool:
    """G-20: a day and an hour at which support and payment desk are staffed."""
    here = local(now, zone)
    day = here.date()
    if day.weekday() >= 5 or is_holiday(day) or day in policy.blackout_dates:
        return False
    if policy.no_eve_of_holiday and is_holiday(day + timedelta(days=1)):
        return False
    if here.replace(fold=0).utcoffset() != here.replace(fold=1).utcoffset():  # an hour that comes twice, or never
        return False
    return any(day.weekday() in one.days and one.start <= here.time() < one.end for one in policy.windows)


# --- what was said ------------------------------------------------------------------------------------------------


class Facts:
    """Everything said about one company, with the questions that the rules ask."""

    def __init__(self, events: Iterable[Any]) -> None:
        seen: dict[str, Said] = {}
        for one in events:
            # The same fact under two ids is one fact: the smaller id stands for both.
            same = repr((one.type, one.occurred_at, sorted(one.body.items(), key=lambda pair: pair[0])))
            if same not in seen or one.id < seen[same].id:
                seen[same] = Said(one.type, one.occurred_at, one.id, one.source, one.body)
        self.all = sorted(seen.values(), key=lambda one: (one.at, one.id))

    def of(self, type_: str, **fields: Any) -> list[Said]:
        return [one for one in self.all if one.type == type_ and all(one.body.get(k) == v for k, v in fields.items())]

    def names(self, type_: str, field: str) -> list[str]:
        return sorted({one.body[field] for one in self.of(type_)})

    def standing(self, opened: str, field: str, *closed: str) -> list[tuple[str, list[Said]]]:
        """What was opened and not closed later than it was last opened."""
        found = []
        for name in self.names(opened, field):
            said = self.of(opened, **{field: name})
            ends = [one.at for type_ in closed for one in self.of(type_, **{field: name})]
            if not any(at > said[-1].at for at in ends):
                found.append((name, said))
        return found

    # --- the debt -------------------------------------------------------------------------------------------------

    def invoices(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for one in self.all:
            if one.type in ("invoice.issued", "invoice.overdue"):
                found.setdefault(one.body["invoice"], {"said": []})["said"].append(one)
        for name, invoice in found.items():
            said = invoice["said"]
            last = [one for one in said if one.at == said[-1].at]
            amount = min(Decimal(one.body["amount"]) for one in last)
            with_lines = [one for one in said if one.body.get("lines")]
            lines = with_lines[-1].body["lines"] if with_lines else []
            service = [line for line in lines if line.get("kind", "service") == "service"]
            days = [one.body["issued_on"] for one in said if "issued_on" in one.body]
            days += [line["period_from"] for one in said for line in one.body.get("lines", []) if "period_from" in line]
            invoice |= {
                "name": name,
                "due": max(date.fromisoformat(one.body["due_on"]) for one in said),
                "currency": last[-1].body["currency"],
                "currencies": {one.body["currency"] for one in said},
                "principal": min(amount, sum((Decimal(line["amount"]) for line in service), Decimal(0))) if lines else amount,
                "lines": service,
                # every service line says that it was delivered, and there is one
                "delivered": bool(service) and all(line.get("delivered_ref") for line in service),
                "contracts": {one.body["contract"] for one in said if one.body.get("contract")},
                "arose": date.fromisoformat(min(days or [one.body["due_on"] for one in said])),
                "cancelled": bool(self.of("invoice.cancelled", invoice=name)),
            }
        return found

    def disputes(self, invoices: dict[str, dict[str, Any]]) -> tuple[set[str], set[str], set[str]]:
        """Invoices that are out because contested; of these the rightly contested; disputes that nobody can place yet."""
        out: set[str] = set()
        won: set[str] = set()
        vague: set[str] = set()
        for name in self.names("dispute.opened", "dispute"):
            opened, closed = self.of("dispute.opened", dispute=name), self.of("dispute.closed", dispute=name)
            upheld = any(one.body["outcome"] == "upheld" for one in closed)
            over = bool(closed) and closed[-1].at > opened[-1].at
            for one in opened:
                named = set(one.body.get("invoices", []))
                if upheld:
                    won |= named or {key for key, invoice in invoices.items() if invoice["said"][0].at <= one.at}
                elif not over:
                    out |= named
                    if not named or not one.body.get("motive"):
                        vague.add(name)
        return out | won, won, vague

    def debt(self, since: datetime) -> dict[str, Any]:
        """What is owed under a notice sent at `since`: money that came back later still counts for it."""
        invoices = self.invoices()
        doubts = {name for name, invoice in invoices.items() if len(invoice["currencies"]) > 1}
        contested, won, vague = self.disputes(invoices)
        paid: dict[str, Decimal] = {}
        free: dict[str, Decimal] = {}
        for name in self.names("payment.received", "payment"):
            back = [one.at for one in self.of("payment.reversed", payment=name) if one.at <= since]
            counted = []
            for one in self.of("payment.received", payment=name):
                what = (one.body["amount"], one.body["currency"], one.body.get("allocation"))
                if (not back or one.at >= max(back)) and what not in counted:
                    counted.append(what)
            for amount, currency, allocation in counted:
                left = Decimal(amount)
                for part in allocation or []:
                    left -= Decimal(part["amount"])
                    if part["invoice"] in invoices and invoices[part["invoice"]]["currency"] != currency:
                        doubts.add(part["invoice"])
                    else:
                        paid[part["invoice"]] = paid.get(part["invoice"], Decimal(0)) + Decimal(part["amount"])
                if left > 0:
                    free[currency] = free.get(currency, Decimal(0)) + left
        judged = [date.fromisoformat(one.body["judgment_on"]) for one in self.of("insolvency.opened")]
        for name, invoice in invoices.items():
            invoice["out"] = ""
            if invoice["cancelled"]:
                invoice["out"] = "cancelled"
            elif judged and invoice["arose"] < max(judged):
                invoice["out"] = "insolvency"
            elif name in contested:
                invoice["out"] = "disputed"
            elif name in doubts:
                invoice["out"] = "doubt"
            too_much = paid.get(name, Decimal(0)) - (Decimal(0) if invoice["cancelled"] else invoice["principal"])
            if too_much > 0:
                free[invoice["currency"]] = free.get(invoice["currency"], Decimal(0)) + too_much
        announced = {name for one in self.of("notice.dispatched") for name in one.body["invoices"]}
        first_those_of_a_notice = sorted(invoices, key=lambda name: (name not in announced, invoices[name]["due"], name))
        for name in first_those_of_a_notice:
            invoice = invoices[name]
            left = max(Decimal(0), invoice["principal"] - paid.get(name, Decimal(0)))
            if not invoice["out"]:
                taken = min(left, free.get(invoice["currency"], Decimal(0)))
                left -= taken
                free[invoice["currency"]] = free.get(invoice["currency"], Decimal(0)) - taken
            invoice["remaining"] = left
        for currency, left in free.items():
            for name, invoice in invoices.items():
                if left > 0 and invoice["currency"] != currency and invoice["remaining"] > 0 and not invoice["out"]:
                    doubts.add(name)
                    invoice["out"] = "doubt"
        return {"invoices": invoices, "doubts": doubts, "vague": vague, "won": won & set(invoices)}

    # --- what was asked -------------------------------------------------------------------------------------------

    def reminders(self) -> dict[str, dict[str, Any]]:
        found = {}
        for name in self.names("reminder.sent", "reminder"):
            said = self.of("reminder.sent", reminder=name)
            found[name] = {
                "name": name,
                "first": said[0].at,
                "last": said[-1].at,
                "invoices": set.intersection(*(set(one.body["invoices"]) for one in said)),
            }
        return found

    def notice(self, name: str) -> dict[str, Any]:
        said = self.of("notice.dispatched", notice=name)
        bodies = [one.body for one in said]
        tells = [body["announces"] for body in bodies]

        def in_all(items: list[dict[str, Any]], field: str) -> set[str]:
            return set.intersection(*(set(item.get(field, [])) for item in items))

        channels = {body["channel"] for body in bodies}
        found = {
            "name": name,
            "first": said[0].at,
            "last": said[-1].at,
            "channel": min(channels, key=CHANNELS.index),
            "officeholder": all(body.get("addressee") == "officeholder" for body in bodies),
            "invoices": in_all(bodies, "invoices"),
            "named": {invoice for body in bodies for invoice in body["invoices"]},
            "reminders": in_all(bodies, "reminders"),
            "services": in_all(tells, "services") - {service for tell in tells for service in tell.get("kept", [])},
            "kept": in_all(tells, "kept"),
            "earliest": max(date.fromisoformat(tell["earliest_on"]) for tell in tells),
            "stage": min((tell["stage"] for tell in tells if "stage" in tell), default=None),
            "states": in_all(bodies, "states"),
            "cure_days": max(body.get("cure_days", 0) for body in bodies),
            "undeliverable": bool(self.of("notice.undeliverable", notice=name)),
        }
        return found | self._effect(name, electronic="lre_q" in channels)

    def _effect(self, name: str, *, electronic: bool) -> dict[str, Any]:
        """T-04: delivered or refused on that day; not claimed: from the first presentation, an electronic one when it lapsed."""

        def proof(said: list[Said]) -> str:
            return next((one.body["proof"] for one in reversed(said) if one.body.get("proof")), "")

        ways = []
        for how in ("delivered", "refused"):
            said = self.of(f"notice.{how}", notice=name)
            if said:
                ways.append((said[-1].at, how, proof(said)))
        unclaimed, presented = self.of("notice.unclaimed", notice=name), self.of("notice.presented", notice=name)
        if unclaimed:
            at = presented[-1].at if presented and not electronic else unclaimed[-1].at
            ways.append((at, "unclaimed", proof(unclaimed) or proof(presented)))
        at, _, shown = max(ways, default=(None, "", ""))
        return {"effective": None if self.of("notice.undeliverable", notice=name) else at, "proof": shown}

    # --- what stands in the way -----------------------------------------------------------------------------------

    def holds(self) -> list[dict[str, Any]]:
        """Every hold: what it bears on (None: everything), from when on a notice to the officeholder is spared, until when."""
        found: list[dict[str, Any]] = []

        def hold(kind: str, **more: Any) -> None:
            base = {"kind": kind, "restores": kind not in FREEZES_ONLY, "services": None, "invoices": None, "until": None}
            found.append(base | {"spares": None} | more)

        for _, said in self.standing("hold.set", "hold", "hold.lifted"):
            kinds = [one.body["kind"] for one in said]
            harder = sorted(set(kinds) - FREEZES_ONLY)
            hold((harder or sorted(kinds))[0])
        for name, said in self.standing("insolvency.opened", "proceedings", "insolvency.closed"):
            del name
            last = max(date.fromisoformat(one.body["judgment_on"]) for one in said)
            hold("insolvency", spares=midnight(last + timedelta(days=1), ["Etc/GMT+12"]))
        for name in self.names("court.order", "decision"):
            said = self.of("court.order", decision=name)
            lifters = {
                one.body["by"]
                for one in self.of("court.lifted", decision=name)
                if one.body["role"] == "legal" and one.at > said[-1].at
            }
            if len(lifters) < 2 and self._ordered(said):
                hold("court")
        for name in self.names("grace_period.granted", "grace"):
            said = self.of("grace_period.granted", grace=name)
            hold("grace_period", until=max(date.fromisoformat(one.body["until"]) for one in said))
        for _, said in self.standing("plan.agreed", "plan", "plan.broken", "plan.ended"):
            named = [set(one.body["invoices"]) for one in said]
            hold("payment_plan", invoices=set.union(*named) if all(named) else None)
        for _, said in self.standing("switching.requested", "request", "switching.ended"):
            named = [set(one.body.get("services", [])) for one in said]
            hold("switching", services=set.union(*named) if all(named) else None)
        for _ in self.standing("safety.reported", "report", "safety.resolved"):
            hold("safety")
        return found

    def _ordered(self, said: list[Said]) -> bool:
        """At once, or once enough was paid from its day on; money that can not be compared is enough."""
        if any(one.body["effect"] == "restore" or "amount" not in one.body for one in said):
            return True
        currencies = {one.body["currency"] for one in said if "currency" in one.body}
        paid = {
            (one.body["payment"], one.body["amount"], one.body["currency"])
            for one in self.of("payment.received")
            if one.at.date() >= said[0].at.date()
        }
        if currencies and any(currency not in currencies for _, _, currency in paid):
            return True
        return sum((Decimal(amount) for _, amount, _ in paid), Decimal(0)) >= min(Decimal(one.body["amount"]) for one in said)

    def overtaken(self, sent: datetime) -> bool:
        """Was something lifted since a notice by which what is due was agreed or judged anew?"""
        for name in self.names("hold.set", "hold"):
            said, lifted = self.of("hold.set", hold=name), self.of("hold.lifted", hold=name)
            renewing = RENEWING & {one.body["kind"] for one in said}
            if renewing and lifted and lifted[-1].at > said[-1].at and lifted[-1].at >= sent:
                return True
        return False
