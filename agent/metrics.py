"""Floor 2. What the two long-lived roles count and measure, for Prometheus.

1. Each role makes its own registry; nothing is global, so that two of them can live in one process.
2. Label values are constants of this program, with one exception: the name of a billing source comes from outside, and is
   used only when it is one of the configured ones; any other is counted as `unknown`. So nobody can make series grow.
3. A scrape reads numbers that are here already. It never asks the kernel or the ledger for anything.
4. Times are in seconds; points in time are UNIX seconds and are passed in.
"""

from collections.abc import Iterable, Mapping
from math import nan

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest

#: What becomes of the kernel: the values of `kind` in `ecluse_changes_total`.
CHANGES = ("suspend", "lower", "switch", "restore", "renew", "repair")

#: Why something of ours was put right: the values of `cause` in `ecluse_repairs_total`.
REPAIRS = ("flush", "drift", "strangers", "members")

#: What failed: the values of `kind` in `ecluse_failures_total`.
FAILURES = ("kernel", "ledger", "proof", "bug")

#: What the kernel is asked: the values of `operation` in `ecluse_kernel_*`.
OPERATIONS = ("apply", "observe", "dump")

#: What becomes of a webhook: the values of `outcome` in `ecluse_webhooks_total`.
OUTCOMES = (
    "accepted",
    "ignored",
    "unknown_customer",
    "unknown_source",
    "bad_signature",
    "stale",
    "future",
    "test_mode",
    "malformed",
    "forbidden",
    "unwritable",
)

#: Why the listening role ended something unheard: the values of `why` in `ecluse_serve_refused_total`.
REFUSED = ("busy", "handshake", "name", "password", "slow")

#: What a look at a local application ends with: the values of `result` in `ecluse_probe_looks_total`.
LOOKS = ("answered", "silent", "unable")

#: What becomes of a refused connection that a flowtable carries: the values of `outcome` in `ecluse_flows_total`.
FLOWS = ("ended", "failed")

#: The label of every source that is not configured.
UNKNOWN = "unknown"

_AGES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0, 604800.0)
_MILLISECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 30.0)


class EnforcerMetrics:
    """Figures of the role that decides and holds the firewall.

    Args:
        sources: names of the configured billing sources.
        version: of this program.
    """

    def __init__(self, *, sources: Iterable[str] = (), version: str = "") -> None:
        registry = CollectorRegistry()
        self.registry = registry
        self._sources = frozenset(sources)
        self._companies = Gauge(
            "ecluse_suspended_companies", "Companies with a measure: wanted, in the kernel", ["state"], registry=registry
        )
        self._attachments = Gauge(
            "ecluse_suspended_attachments", "Set elements that suspend: wanted, in the kernel", ["state"], registry=registry
        )
        self._changes = Counter("ecluse_changes", "Changes made in the kernel", ["kind"], registry=registry)
        self._repairs = Counter("ecluse_repairs", "Rules or elements of ours put right", ["cause"], registry=registry)
        self._failures = Counter("ecluse_failures", "Things that failed and are tried again", ["kind"], registry=registry)
        self._restore = Histogram(
            "ecluse_payment_to_restore_seconds",
            "From the receipt of a fact that restores to the kernel's confirmation",
            buckets=_MILLISECONDS,
            registry=registry,
        )
        self._age = Histogram(
            "ecluse_fact_age_at_restore_seconds",
            "From when a fact that restores happened, as its source says, to the kernel's confirmation",
            buckets=_AGES,
            registry=registry,
        )
        self._kernel_seconds = Histogram(
            "ecluse_kernel_seconds", "Time of one call of the kernel", ["operation"], buckets=_MILLISECONDS, registry=registry
        )
        self._kernel_errors = Counter("ecluse_kernel_errors", "Calls that the kernel refused", ["operation"], registry=registry)
        self._inbox = Gauge("ecluse_inbox_depth", "Webhooks that wait for their commit", registry=registry)
        self._due = Gauge("ecluse_due_companies", "Companies that wait to be decided about, up to 1000", registry=registry)
        self._held = Gauge(
            "ecluse_held_companies", "Companies whose change is too big to be made without a look", registry=registry
        )
        self._stopped = Gauge("ecluse_stopped_companies", "Companies that the stop file names", registry=registry)
        self._volatile = Gauge(
            "ecluse_volatile_facts", "Facts that count and that the ledger could not take yet", registry=registry
        )
        self._failing = Gauge("ecluse_failing", "Companies and parts that fail now and are tried again", registry=registry)
        self._reviewing = Gauge(
            "ecluse_policy_under_review",
            "1 while new policies are compared with the former ones before they may suspend",
            registry=registry,
        )
        self._audited = Gauge(
            "ecluse_last_audit_timestamp_seconds",
            "When the whole kernel was last compared with the whole ledger",
            registry=registry,
        )
        self._used = Gauge("ecluse_ledger_bytes", "Size of the ledger's file with its log", registry=registry)
        self._free = Gauge("ecluse_state_free_bytes", "Room on the disk that the ledger is on", registry=registry)
        self._beats = Gauge(
            "ecluse_feed_last_heartbeat_timestamp_seconds",
            "When a billing source that must report last did; 0 for never",
            ["source"],
            registry=registry,
        )
        self._clock = Gauge("ecluse_clock_synchronised", "1 while the host's clock is known to be right", registry=registry)
        self._clock_offset = Gauge("ecluse_clock_offset_seconds", "By how much it may be off", registry=registry)
        self._clock_steps = Counter("ecluse_clock_steps", "Jumps of the host's clock", registry=registry)
        self._webhooks = Counter(
            "ecluse_webhooks", "Webhooks by source and what became of them", ["source", "outcome"], registry=registry
        )
        self._skew = Gauge(
            "ecluse_webhook_clock_skew_seconds", "Our clock minus the source's, at its last webhook", ["source"], registry=registry
        )
        self._last_good = Gauge(
            "ecluse_last_good_cycle_timestamp_seconds", "When kernel and decisions last agreed", registry=registry
        )
        self._cycle = Histogram("ecluse_cycle_seconds", "Time one reconcile cycle takes", buckets=_MILLISECONDS, registry=registry)
        self._policy_valid = Gauge("ecluse_policy_valid", "1 when the policies on disk are the ones in force", registry=registry)
        self._policy_loaded = Gauge(
            "ecluse_policy_loaded_timestamp_seconds", "When the policies in force were loaded", registry=registry
        )
        self._sequence = Gauge("ecluse_ledger_sequence", "Number of the ledger's last row", registry=registry)
        self._writable = Gauge("ecluse_ledger_writable", "1 when the ledger can commit", registry=registry)
        self._paused = Gauge("ecluse_paused", "1 when a person stopped all new suspensions", registry=registry)
        self._breaker = Gauge(
            "ecluse_breaker_open", "1 while new suspensions wait for a person to release the breaker", registry=registry
        )
        self._contested = Gauge(
            "ecluse_table_contested",
            "1 while others keep changing our table, and it is put back at growing intervals",
            registry=registry,
        )
        self._flows = Counter(
            "ecluse_flows", "Connections of suspended services taken out of flowtables", ["outcome"], registry=registry
        )
        self._unlinked = Gauge(
            "ecluse_links_absent",
            "Links that attachments name and that are not there, or not certain to be the same",
            registry=registry,
        )
        self._unresolved = Gauge(
            "ecluse_names_out_of_reach",
            "Names of services without an address, and addresses of them that may not be refused",
            registry=registry,
        )
        self._ceiling = Info("ecluse_mode_ceiling", "How far the host may go by itself", registry=registry)
        Info("ecluse_build", "Which version runs", registry=registry).info({"version": version})
        ProcessCollector(namespace="ecluse_enforce", registry=registry)
        # A series that only appears with its first event hides that event from rate().
        for kind in CHANGES:
            self._changes.labels(kind)
        self._look_at(registry)
        for cause in REPAIRS:
            self._repairs.labels(cause)
        for kind in FAILURES:
            self._failures.labels(kind)
        for operation in OPERATIONS:
            self._kernel_errors.labels(operation)
        self.know(self._sources)

    def _look_at(self, registry: CollectorRegistry) -> None:
        """Figures of looking at local applications."""
        self._probe_up = Gauge(
            "ecluse_probe_up", "1 when the probing role answered last time, NaN where nothing is looked at", registry=registry
        )
        self._probe_up.set(nan)
        self._probe_answered = Gauge(
            "ecluse_probe_last_answer_timestamp_seconds", "When the probing role last answered", registry=registry
        )
        self._looks = Counter("ecluse_probe_looks", "Looks at local applications by result", ["result"], registry=registry)
        self._targets = Gauge(
            "ecluse_probe_targets", "Applications, dependencies and controls by what was last seen", ["state"], registry=registry
        )
        for result in LOOKS:
            self._looks.labels(result)
            self._targets.labels(result)
        for outcome in FLOWS:
            self._flows.labels(outcome)

    def know(self, sources: Iterable[str]) -> None:
        """Take the names of the billing sources configured now (after a reload)."""
        for gone in self._sources - frozenset(sources):
            self._beats.remove(gone)
        self._sources = frozenset(sources)
        for source in (*self._sources, UNKNOWN):
            for outcome in OUTCOMES:
                self._webhooks.labels(source, outcome)

    def companies(self, *, desired: int, actual: int) -> None:
        """How many companies have a measure, as decided and as found in the kernel."""
        self._companies.labels("desired").set(desired)
        self._companies.labels("actual").set(actual)

    def attachments(self, *, desired: int, actual: int) -> None:
        """How many set elements suspend somebody, as decided and as found in the kernel."""
        self._attachments.labels("desired").set(desired)
        self._attachments.labels("actual").set(actual)

    def changed(self, kind: str, count: int = 1) -> None:
        """`count` changes were made; `kind` is one of `CHANGES`."""
        if kind not in CHANGES:
            raise ValueError(f"{kind!r} is no kind of change; one of {', '.join(CHANGES)}")
        self._changes.labels(kind).inc(count)

    def repaired(self, cause: str, count: int = 1) -> None:
        """`count` things of ours were put right; `cause` is a constant of the caller, such as `flush`."""
        self._repairs.labels(cause).inc(count)

    def failed(self, kind: str) -> None:
        """Something failed; `kind` is a constant of the caller, such as `kernel`."""
        self._failures.labels(kind).inc()

    def restored(self, seconds: float, *, age: float) -> None:
        """From the receipt of the fact that restores until the kernel confirmed, and from when it happened, in seconds."""
        self._restore.observe(seconds)
        self._age.observe(max(0.0, age))

    def kernel_call(self, operation: str, seconds: float) -> None:
        """The kernel was asked; `operation` is one of `OPERATIONS`."""
        self._kernel_seconds.labels(operation).observe(seconds)

    def kernel_error(self, operation: str) -> None:
        """The kernel refused."""
        self._kernel_errors.labels(operation).inc()

    def inbox(self, depth: int) -> None:
        """So many webhooks wait for their commit."""
        self._inbox.set(depth)

    def waiting(self, *, due: int, held: int, stopped: int, volatile: int, failing: int) -> None:
        """What waits, by the reason: numbers of companies, and of facts."""
        self._due.set(due)
        self._held.set(held)
        self._stopped.set(stopped)
        self._volatile.set(volatile)
        self._failing.set(failing)

    def reviewing(self, *, is_on: bool) -> None:
        """Whether new policies are compared with the former ones."""
        self._reviewing.set(is_on)

    def audited(self, *, at: float) -> None:
        """The whole kernel was compared with the whole ledger (UNIX seconds)."""
        self._audited.set(at)

    def disk(self, *, used: int, free: int) -> None:
        """Bytes of the ledger, and bytes that are left where it is."""
        self._used.set(used)
        self._free.set(free)

    def feeds(self, beats: Mapping[str, float | None]) -> None:
        """When each source that must report last did (UNIX seconds)."""
        for source, at in beats.items():
            if source in self._sources:
                self._beats.labels(source).set(at or 0.0)

    def clock(self, *, synchronised: bool, offset: float) -> None:
        """Whether the clock is known to be right, and by how many seconds it may be off."""
        self._clock.set(synchronised)
        self._clock_offset.set(offset)

    def clock_stepped(self) -> None:
        """The clock jumped."""
        self._clock_steps.inc()

    def webhook(self, source: str, outcome: str) -> None:
        """A webhook was answered; `outcome` is a constant of the caller, such as `accepted` or `bad_signature`."""
        self._webhooks.labels(self._source(source), outcome).inc()

    def clock_skew(self, source: str, seconds: float) -> None:
        """Our clock minus the time an authentic webhook states."""
        self._skew.labels(self._source(source)).set(seconds)

    def cycle(self, seconds: float, *, good_at: float | None) -> None:
        """A cycle took so long; `good_at` (UNIX seconds) when it ended with the kernel as decided, else None."""
        self._cycle.observe(seconds)
        if good_at is not None:
            self._last_good.set(good_at)

    def policy(self, *, valid: bool, loaded_at: float | None = None) -> None:
        """Whether the policies on disk are in force, and since when (UNIX seconds) the ones in force are."""
        self._policy_valid.set(valid)
        if loaded_at is not None:
            self._policy_loaded.set(loaded_at)

    def ledger(self, *, sequence: int, writable: bool) -> None:
        """Where the ledger stands."""
        self._sequence.set(sequence)
        self._writable.set(writable)

    def paused(self, *, paused: bool) -> None:
        """Whether a person stopped all new suspensions."""
        self._paused.set(paused)

    def breaker(self, *, is_open: bool) -> None:
        """Whether new suspensions wait for a person to release the breaker."""
        self._breaker.set(is_open)

    def contested(self, *, is_on: bool) -> None:
        """Whether other programs keep changing our table, so that repairs are spaced out."""
        self._contested.set(is_on)

    def probe(self, *, up: bool, at: float | None = None) -> None:
        """Whether the probing role answered, and when (UNIX seconds)."""
        self._probe_up.set(up)
        if at is not None:
            self._probe_answered.set(at)

    def look(self, result: str) -> None:
        """One look at a local application; `result` is one of `continuity.Seen`."""
        self._looks.labels(result).inc()

    def targets(self, states: Mapping[str, int]) -> None:
        """How many things that are looked at were last seen in each state."""
        for state, count in states.items():
            self._targets.labels(state).set(count)

    def unlinked(self, count: int) -> None:
        """How many links that attachments name can not be named in the kernel now."""
        self._unlinked.set(count)

    def flows(self, outcome: str, count: int) -> None:
        """So many refused connections were taken out of flowtables, or could not be; `outcome` is one of `FLOWS`."""
        self._flows.labels(outcome).inc(count)

    def unresolved(self, count: int) -> None:
        """How much of the names of services can not be refused now."""
        self._unresolved.set(count)

    def ceiling(self, mode: str) -> None:
        """The host's own ceiling: observe, approve or auto."""
        self._ceiling.info({"mode": mode})

    def _source(self, name: str) -> str:
        return name if name in self._sources else UNKNOWN


class ServeMetrics:
    """Figures of the role that listens.

    Args:
        sources: names of billing sources that exist; `know` adds others.
    """

    def __init__(self, *, sources: Iterable[str] = ()) -> None:
        registry = CollectorRegistry()
        self.registry = registry
        self._sources = frozenset(sources)
        self._requests = Counter(
            "ecluse_serve_requests", "Webhook requests by source and status", ["source", "status"], registry=registry
        )
        self._seconds = Histogram(
            "ecluse_serve_request_seconds", "From the first byte to the answer", buckets=_MILLISECONDS, registry=registry
        )
        self._up = Gauge("ecluse_enforcer_up", "1 when the enforcer answered last time", registry=registry)
        self._refusals = Counter(
            "ecluse_serve_refused", "Connections and requests ended before they were looked at", ["why"], registry=registry
        )
        self._expiry = Gauge(
            "ecluse_serve_certificate_expiry_timestamp_seconds",
            "When the certificate of a listener ends",
            ["listener"],
            registry=registry,
        )
        self._tls = Gauge(
            "ecluse_serve_tls_files_valid", "1 while the TLS files on disk are the ones in use", ["listener"], registry=registry
        )
        ProcessCollector(namespace="ecluse_serve", registry=registry)
        for why in REFUSED:
            self._refusals.labels(why)

    def know(self, sources: Iterable[str]) -> None:
        """Take the names of the sources that exist, as the enforcer tells them; never a name from a request."""
        self._sources = frozenset(sources)

    def answered(self, source: str, status: int, seconds: float) -> None:
        """A request was answered with an HTTP status after so many seconds."""
        self._requests.labels(source if source in self._sources else UNKNOWN, str(status)).inc()
        self._seconds.observe(seconds)

    def refused(self, why: str) -> None:
        """A connection or request was ended before it was looked at; `why` is one of `REFUSED`."""
        self._refusals.labels(why).inc()

    def tls(self, listener: str, *, valid: bool, expires: float | None) -> None:
        """Whether the TLS files of a listener can be used, and when its certificate ends (UNIX seconds; None for plain HTTP)."""
        self._tls.labels(listener).set(valid)
        if expires is not None:
            self._expiry.labels(listener).set(expires)

    def enforcer(self, *, up: bool) -> None:
        """Whether the enforcer answered."""
        self._up.set(up)


def exposition(registry: CollectorRegistry) -> bytes:
    """The registry as Prometheus reads it (text format)."""
    return generate_latest(registry)
