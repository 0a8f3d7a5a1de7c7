"""Floor 4, demo. Who and what the story is about: invoices, dates that recur, the connections that are held open."""

#: The policy that acts by itself, and the day the story begins.
POLICY = "fr-b2b-auto"
START = "2026-01-05T09:00:00"
DUE = "2026-01-31"

#: What each debtor's invoice is for. ZA is billed in our own vocabulary, ZB by Stripe (in cents).
ZA_INVOICE, ZA_AMOUNTS = "F-2026-0117", {"vpn": "1600", "shared-documents": "1600", "reporting": "1600"}
ZB_INVOICE, ZB_CENTS = "in_zb_2026_0118", {"vpn": 120_000, "shared-documents": 100_000, "reporting": 100_000}
DEBTORS = {"za": ZA_INVOICE, "zb": ZB_INVOICE}

#: The services that both formal notices announce.
ANNOUNCED = ("reporting", "shared-documents", "vpn")

#: Open connections that must live through everything: name -> company, what it uses, address family.
KEPT = {
    "za -> erp (IPv4)": ("za", "erp", 4),
    "za -> erp (IPv6)": ("za", "erp", 6),
    "zc -> shared-documents (IPv6)": ("zc", "shared-documents", 6),
}
#: Open connections that must end when the suspension begins.
DOOMED = {
    "za -> shared-documents (IPv4)": ("za", "shared-documents", 4),
    "zb -> reporting (IPv6)": ("zb", "reporting", 6),
}

#: Seconds within which something must have happened that the gateway does by itself.
SOON = 5.0
#: Milliseconds from a payment to the first packet through, or from a flush to the next refusal. Far more than it takes: the
#: machine may be busy, and the figures themselves are printed.
BOUND = 2000.0
