"""`python -m bench.plot`: the figures of `bench/results.json` as one picture, `docs/bench.svg`, for a page that people read.

Bars on a logarithmic scale: one change as ecluse makes it, and as other programs make it on the same machine in the same run.
"""

import json
import math
import sys
from pathlib import Path
from xml.sax.saxutils import escape

RESULTS = Path(__file__).with_name("results.json")
PICTURE = Path(__file__).parents[1] / "docs" / "bench.svg"

#: Key, factor to milliseconds, label, ours.
BARS = (
    ("floor_suspend_us_100k", 0.001, "hand-packed netlink, 100 000 there (the floor)", False),
    ("change_suspend_us_100", 0.001, "ecluse, 100 suspended, three services", True),
    ("change_suspend_us_100k", 0.001, "ecluse, 100 000 suspended, three services", True),
    ("change_suspend_us_1m", 0.001, "ecluse, 1 000 000 suspended, three services", True),
    ("peer_ours_legacy_one_ms_1k", 1, "ecluse on legacy iptables, 1 000 suspended", True),
    ("peer_ipset_program_one_ms", 1, "ipset add, the program", False),
    ("peer_fail2ban_one_ms", 1, "fail2ban, one ban", False),
    ("peer_interval_set_one_ms_100k", 1, "nft add element, interval set of 100 000", False),
    ("peer_crowdsec_one_ms", 1, "CrowdSec firewall bouncer, one decision", False),
)
WIDTH, LEFT, ROW, TOP = 900, 350, 30, 56
LOW, HIGH = 0.01, 20_000.0


def picture(figures: dict[str, float], about: str) -> str:
    """The SVG text. Bars whose figure is not there are left out."""
    rows = [(figures[key] * factor, label, ours) for key, factor, label, ours in BARS if key in figures]
    height = TOP + ROW * len(rows) + 40

    def x(ms: float) -> float:
        return LEFT + (WIDTH - LEFT - 90) * math.log(max(ms, LOW) / LOW) / math.log(HIGH / LOW)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        '<text x="12" y="22" font-size="16">One customer suspended: how long until the kernel has it (logarithmic)</text>',
        f'<text x="12" y="40" fill="#555">{escape(about)}</text>',
    ]
    for power in range(-2, 5):
        at = x(10.0**power)
        label = f"{10.0**power:g} ms" if power < 3 else f"{10 ** (power - 3)} s"
        lines.append(f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{height - 30}" stroke="#ddd"/>')
        lines.append(f'<text x="{at:.1f}" y="{height - 12}" text-anchor="middle" fill="#555">{label}</text>')
    for number, (ms, label, ours) in enumerate(rows):
        y = TOP + ROW * number
        colour = "#1f6f8b" if ours else "#b0b7bd"
        lines.append(f'<text x="{LEFT - 8}" y="{y + 18}" text-anchor="end">{escape(label)}</text>')
        lines.append(f'<rect x="{LEFT}" y="{y + 5}" width="{x(ms) - LEFT:.1f}" height="18" fill="{colour}"/>')
        lines.append(f'<text x="{x(ms) + 6:.1f}" y="{y + 18}">{words(ms)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def words(ms: float) -> str:
    """A time with two digits that count, in the unit that fits."""
    value, unit = (ms * 1000, "µs") if ms < 1 else (ms, "ms") if ms < 1000 else (ms / 1000, "s")
    return f"{float(f'{value:.2g}'):g} {unit}"


def main() -> int:
    if not RESULTS.exists():
        print(f"no {RESULTS}: run `make bench` first", file=sys.stderr)
        return 1
    results = json.loads(RESULTS.read_text())
    machine = results["machine"]
    about = f"Linux {machine['kernel']}, nft {machine['nft']}, {machine['cores']} cores, {machine['at'][:10]}; median of one run"
    PICTURE.write_text(picture(results["figures"], about))
    print(f"written to {PICTURE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
