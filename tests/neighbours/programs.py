"""Other firewalls as their packages bring them: how each is started, reloaded and stopped on a gateway, and what is theirs."""

import os
import re
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from agent.lab import Space, probe
from tests.neighbours.root import Root
from tests.process.house import until

#: An address behind the paying neighbour that nobody uses: what others ban here.
BANNED = "10.20.20.77"

_TIMES = re.compile(r" (?:expires|timeout) \w+")


class Neighbour(ABC):
    """One program. `start` returns once its rules are there, `stop` once it is gone. `flushes`: it takes our table away too."""

    flushes = False

    def __init__(self, root: Root, peer: Space) -> None:
        self.root, self.peer = root, peer
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @abstractmethod
    def start(self) -> None:
        """As its unit does."""

    @abstractmethod
    def reload(self) -> None:
        """As an administrator does after a change."""

    @abstractmethod
    def stop(self) -> None:
        """As its unit does."""

    @abstractmethod
    def works(self) -> bool:
        """Whether what it is for is in the kernel."""

    def run(self, name: str, *argv: str, space: Space | None = None) -> None:
        """Start a daemon with its log in `/var/log/NAME.log`."""
        with (self.root.path / f"var/log/{name}.log").open("ab") as log:
            self.processes[name] = self.root.start(*argv, space=space, stdout=log, stderr=log)

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        """End a daemon and wait until it is gone; one that does not listen is killed."""
        process = self.processes.pop(name)
        process.send_signal(number)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)

    def wait(self, true: Callable[[], object], what: str) -> None:
        """Wait until something is true; fails with the logs."""
        try:
            until(true, 20, what=what, pause=0.05)
        except AssertionError:
            for name in self.processes:
                print(self.root.read(f"/var/log/{name}.log")[-2000:])
            raise


def theirs(root: Root) -> str:
    """Everything in nftables and legacy iptables that is not ours, without counters and times."""
    text = ""
    for line in root.run("nft", "list", "tables").splitlines():
        if line != "table inet ecluse":
            text += root.run("nft", "--stateless", "list", *line.split())
    for family in ("iptables", "ip6tables"):
        saved = root.run(f"{family}-legacy-save", ok=False)
        text += "".join(line.partition(" [")[0] + "\n" for line in saved.splitlines() if not line.startswith("#"))
    return _TIMES.sub("", text)


def iptables(root: Root, flavour: str) -> None:
    """Have `iptables` mean `nft` or `legacy`, as update-alternatives does."""
    for family in ("iptables", "ip6tables"):
        for kind in ("", "-save", "-restore"):
            root.link(f"/usr/sbin/{family}{kind}", f"{family}-{flavour}{kind}")


class NftablesConf(Neighbour):
    """Debian's own nftables.service: a hand-written file that begins with `flush ruleset`; stopping it flushes too."""

    flushes = True

    def start(self) -> None:
        """ExecStart of the unit."""
        assert "flush ruleset" in self.root.read("/etc/nftables.conf")
        self.root.run("nft", "-f", "/etc/nftables.conf")

    def reload(self) -> None:
        """ExecReload of the unit."""
        self.root.run("nft", "-f", "/etc/nftables.conf")

    def stop(self) -> None:
        """ExecStop of the unit."""
        self.root.run("nft", "flush", "ruleset")

    def works(self) -> bool:
        """Its three chains."""
        return "chain output" in self.root.run("nft", "list", "table", "inet", "filter", ok=False)


class Ufw(Neighbour):
    """ufw over iptables-nft, letting the gateway forward."""

    def start(self) -> None:
        """What its package's script puts in place, then `ufw enable`."""
        iptables(self.root, "nft")
        for name in ("before.rules", "before6.rules", "after.rules", "after6.rules", "user.rules", "user6.rules"):
            self.root.write(f"/etc/ufw/{name}", self.root.read(f"/usr/share/ufw/iptables/{name}"))
        self.root.write("/etc/ufw/ufw.conf", self.root.read("/usr/share/ufw/ufw.conf"))
        default = self.root.read("/etc/default/ufw")
        self.root.write("/etc/default/ufw", default.replace('FORWARD_POLICY="DROP"', 'FORWARD_POLICY="ACCEPT"'))
        assert "active" in self.root.run("ufw", "--force", "enable")

    def reload(self) -> None:
        """A new rule, and a reload."""
        self.root.run("ufw", "allow", "8440/tcp")
        assert "reloaded" in self.root.run("ufw", "reload")

    def stop(self) -> None:
        """Disabled, and its empty chains swept up so that the next neighbour finds a clean host."""
        self.root.run("ufw", "disable")
        for family in ("ip", "ip6"):
            self.root.run("nft", "delete", "table", family, "filter", ok=False)

    def works(self) -> bool:
        """Its own chains."""
        return "ufw-before-forward" in self.root.run("iptables-save", ok=False)


_BUS = """<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
<allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
<allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/>
<allow receive_type="signal"/></policy></busconfig>"""


class Firewalld(Neighbour):
    """firewalld with its nftables backend, on a bus of its own; customers' interfaces are in the zone `trusted`."""

    def start(self) -> None:
        """Bus and daemon."""
        if "bus" not in self.processes:
            (self.root.path / "run/dbus").mkdir(exist_ok=True)
            self.root.write("/etc/bus.conf", _BUS)
            self.run("bus", "dbus-daemon", "--config-file=/etc/bus.conf", "--nofork")
            self.wait((self.root.path / "run/dbus/system_bus_socket").exists, "the bus is up")
            iptables(self.root, "nft")
            self.root.run("firewall-offline-cmd", "--set-default-zone=trusted", ok=False)  # already so the second time
        self.run("firewalld", "firewalld", "--nofork", "--nopid")
        self.wait(lambda: self.root.run("firewall-cmd", "--state", ok=False).strip() == "running", "firewalld runs")

    def reload(self) -> None:
        """A usual one and a complete one, which unloads everything first."""
        self.root.run("firewall-cmd", "--permanent", "--add-port=8440/tcp")
        self.root.run("firewall-cmd", "--reload")
        self.root.run("firewall-cmd", "--complete-reload")

    def stop(self) -> None:
        """SIGTERM, as systemd does; then its bus."""
        self.end("firewalld")
        self.end("bus")
        (self.root.path / "run/dbus/system_bus_socket").unlink(missing_ok=True)
        for family in ("ip", "ip6"):
            self.root.run("nft", "delete", "table", family, "filter", ok=False)

    def works(self) -> bool:
        """Its own table."""
        return "chain filter_FORWARD" in self.root.run("nft", "list", "table", "inet", "firewalld", ok=False)


class Fail2ban(Neighbour):
    """fail2ban with its nftables action, and one address banned."""

    def start(self) -> None:
        """Server, jail, ban."""
        self.root.write("/etc/fail2ban/jail.local", _JAIL)
        self.root.write("/var/log/annex.log", "")
        for place in ("run/fail2ban", "var/lib/fail2ban"):
            (self.root.path / place).mkdir(parents=True, exist_ok=True)
        self.run("fail2ban", "fail2ban-server", "-xf", "start")
        self.wait(lambda: "pong" in self.root.run("fail2ban-client", "ping", ok=False), "fail2ban answers")
        self.root.run("fail2ban-client", "set", "annex", "banip", BANNED)
        self.wait(self.works, "the ban is in the kernel")

    def reload(self) -> None:
        """As `fail2ban-client reload` does; and a restart of the jail, which takes all down and up again."""
        self.root.run("fail2ban-client", "reload")
        self.root.run("fail2ban-client", "restart", "annex")
        self.wait(self.works, "the ban is in the kernel again")

    def stop(self) -> None:
        """It takes its own table away."""
        self.root.run("fail2ban-client", "stop")
        self.processes.pop("fail2ban").wait(15)

    def works(self) -> bool:
        """The banned address in its set."""
        return BANNED in self.root.run("nft", "list", "table", "inet", "f2b-table", ok=False)


_JAIL = """[DEFAULT]
banaction = nftables-multiport
banaction_allports = nftables-allports
dbfile = /var/lib/fail2ban/fail2ban.sqlite3
[annex]
enabled = true
filter = sshd
backend = polling
logpath = /var/log/annex.log
port = ssh
bantime = 1d
[sshd]
enabled = false
"""

_API = Path(__file__).with_name("local_api.py")


class Crowdsec(Neighbour):
    """CrowdSec's firewall bouncer, with a stand-in for the local API that speaks its real protocol."""

    def start(self) -> None:
        """API and bouncer."""
        name = "/etc/crowdsec/bouncers/crowdsec-firewall-bouncer.yaml"
        text = self.root.read(name).replace("${API_KEY}", "key").replace("update_frequency: 10s", "update_frequency: 1s")
        for key, value in (("mode", "nftables"), ("log_mode", "stdout")):
            text = re.sub(rf"^{key}:.*$", f"{key}: {value}", text, flags=re.MULTILINE)
        self.root.write("/etc/crowdsec/bouncer.yaml", text)
        with self.root.space.inside():
            self.processes["api"] = subprocess.Popen([sys.executable, _API, BANNED], env={"PATH": os.environ["PATH"]})
        self.wait(lambda: probe(self.root.space, "tcp", "127.0.0.1", 8080).result == "open", "the local API answers")
        self._bouncer()

    def _bouncer(self) -> None:
        self.run("bouncer", "crowdsec-firewall-bouncer", "-c", "/etc/crowdsec/bouncer.yaml")
        self.wait(self.works, "the ban is in the kernel")

    def reload(self) -> None:
        """It knows no reload; it is restarted."""
        self.end("bouncer")
        self._bouncer()

    def stop(self) -> None:
        """Its tables go with it."""
        self.end("bouncer")
        self.end("api")

    def works(self) -> bool:
        """The banned address in its set."""
        return BANNED in self.root.run("nft", "list", "table", "ip", "crowdsec", ok=False)


class Keepalived(Neighbour):
    """VRRP with the upstream router: the gateway stands by as long as it hears that one's advertisements."""

    ADDRESS = "10.99.0.9"

    def start(self) -> None:
        """Both ends; the other one is master."""
        self._router("other", "eth0", 150, self.peer)
        self._router("ours", "up0", 100, self.root.space)
        self.wait(lambda: self._has(self.peer, "eth0"), "the other router has the address")

    def _router(self, name: str, interface: str, priority: int, space: Space) -> None:
        config = f"/etc/keepalived/{name}.conf"
        self.root.write(config, _VRRP.format(interface=interface, priority=priority, address=self.ADDRESS))
        pids = [f"--{kind}={self._pid(name, kind)}" for kind in ("pid", "vrrp_pid")]
        self.run(name, "keepalived", "--dont-fork", "--log-console", "--vrrp", f"--use-file={config}", *pids, space=space)

    def _pid(self, name: str, kind: str) -> str:
        return f"/run/keepalived-{name}-{kind}"

    def _has(self, space: Space, interface: str) -> bool:
        with space.inside():
            return (
                self.ADDRESS
                in subprocess.run(["ip", "-4", "addr", "show", interface], capture_output=True, text=True, check=False).stdout
            )

    def reload(self) -> None:
        """Both are told to read their files again."""
        for name in ("other", "ours"):
            self.processes[name].send_signal(signal.SIGHUP)
        self.wait(self.works, "the other router has the address")

    def stop(self) -> None:
        """The other one goes first: the gateway must hear that, and take the address."""
        self.end("other")
        self.wait(lambda: self._has(self.root.space, "up0"), "the gateway takes the address")
        self.end("ours")

    def works(self) -> bool:
        """The other one is master, and the gateway hears it."""
        return self._has(self.peer, "eth0") and not self._has(self.root.space, "up0")


_VRRP = """global_defs {{
  vrrp_version 3
  nftables keepalived
}}
vrrp_instance annex {{
  state BACKUP
  interface {interface}
  virtual_router_id 51
  priority {priority}
  advert_int 0.2
  no_accept
  virtual_ipaddress {{
    {address}/24
  }}
}}
"""


class Docker(Neighbour):
    """dockerd itself, with the iptables that its package finds; no container runs."""

    flavour = "nft"

    def start(self) -> None:
        """containerd and dockerd."""
        iptables(self.root, self.flavour)
        self.run("containerd", "containerd")
        self.wait((self.root.path / "run/containerd/containerd.sock").exists, "containerd is up")
        self._dockerd()

    def _dockerd(self) -> None:
        said = "Daemon has completed initialization"
        known = self.root.read("/var/log/dockerd.log").count(said)
        self.run("dockerd", "dockerd", "--containerd=/run/containerd/containerd.sock", "--storage-driver=vfs")
        self.wait(lambda: self.root.read("/var/log/dockerd.log").count(said) > known, "dockerd is up")
        self.wait(self.works, "its rules are in the kernel")

    def reload(self) -> None:
        """A restart, which makes all its rules anew."""
        self.end("dockerd")
        (self.root.path / "run/docker.sock").unlink(missing_ok=True)
        self._dockerd()

    def stop(self) -> None:
        """Both end; docker leaves its rules, so they are taken away for the next neighbour."""
        self.end("dockerd")
        self.end("containerd")
        for place in ("run/docker.sock", "run/containerd/containerd.sock"):
            (self.root.path / place).unlink(missing_ok=True)
        for table in ("filter", "nat"):
            for family in ("iptables", "ip6tables"):
                self.root.run(family, "-t", table, "-F", ok=False)
                self.root.run(family, "-t", table, "-X", ok=False)
            self.root.run("nft", "delete", "table", "ip", table, ok=False)
            self.root.run("nft", "delete", "table", "ip6", table, ok=False)

    def works(self) -> bool:
        """Its own chains and its masquerading."""
        saved = self.root.run(f"iptables-{self.flavour}-save", ok=False)
        return "-A FORWARD -j DOCKER-USER" in saved and "MASQUERADE" in saved


class DockerLegacy(Docker):
    """The same over legacy iptables, whose rules nft does not show."""

    flavour = "legacy"


EVERY: dict[str, type[Neighbour]] = {
    "nftables.conf": NftablesConf,
    "ufw": Ufw,
    "firewalld": Firewalld,
    "fail2ban": Fail2ban,
    "crowdsec": Crowdsec,
    "keepalived": Keepalived,
    "docker": Docker,
    "docker-legacy": DockerLegacy,
}
