"""Hosts made of network namespaces of this machine, for tests and benchmarks of runs on several ranks. The hosts
are joined by a bridge in a namespace of its own, so that nothing reaches the network of the machine. Each link
can be cut, and can be throttled.

This needs root, or the capabilities to make namespaces (why_no_namespaces).
"""
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

SHELL = Path(__file__).resolve().with_name("rsh_to_namespace.sh")
# Without a bucket of this size, a link of 1 Gbit/s does not carry its rate in both directions at once.
BURST, LATENCY = "256kb", "10ms"


def ip(*words):
    return subprocess.run(["ip", *map(str, words)], capture_output=True, text=True, check=False)


class Hosts:
    """Namespaces PREFIXn0, PREFIXn1, ... with the addresses 10.77.0.1, 10.77.0.2, ..., which are removed at the
    end of a `with`. A constructor that fails leaves nothing behind."""

    def __init__(self, count, prefix=None):
        prefix = prefix or f"sculpt{os.getpid()}"
        self.switch = prefix + "sw"
        self.names = [f"{prefix}n{i}" for i in range(count)]
        try:
            self._make()
        except BaseException:  # also a signal that ends the program
            self.remove()
            raise

    def _make(self):
        for name in [self.switch, *self.names]:
            self.run("netns", "add", name)
        self.run("-n", self.switch, "link", "add", "name", "sw0", "type", "bridge")
        self.run("-n", self.switch, "link", "set", "sw0", "up")
        for i, name in enumerate(self.names):
            self.run("link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", f"port{i}",
                     "netns", self.switch)
            self.run("-n", self.switch, "link", "set", f"port{i}", "master", "sw0", "up")
            self.run("-n", name, "link", "set", "lo", "up")
            self.run("-n", name, "addr", "add", f"10.77.0.{i + 1}/24", "dev", "eth0")
            self.run("-n", name, "link", "set", "eth0", "up")

    @staticmethod
    def run(*words):
        Hosts._check("ip", *words)

    @staticmethod
    def _check(*words):
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise OSError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")

    def set_cable(self, host, state):
        self.run("-n", self.switch, "link", "set", f"port{host}", state)

    def set_rate(self, rate):
        """Throttles every link, in both directions, to a rate as tc writes it ("1gbit"); None: no throttle."""
        for i, name in enumerate(self.names):
            # The bridge's end limits what the host receives.
            for namespace, interface in ((name, "eth0"), (self.switch, f"port{i}")):
                device = ("-n", namespace, "qdisc"), ("dev", interface, "root")
                if rate is None:
                    # There is nothing to remove from a link that was never throttled.
                    subprocess.run(["tc", *device[0], "del", *device[1]], capture_output=True, check=False)
                else:
                    self._check("tc", *device[0], "replace", *device[1], "tbf", "rate", rate, "burst", BURST,
                                "latency", LATENCY)

    def bytes_sent(self, host):
        """Returns how many bytes have left the host, headers included."""
        done = ip("-n", self.names[host], "-s", "-j", "link", "show", "eth0")
        if done.returncode != 0:
            raise OSError(f"the counters of {self.names[host]}: {done.stderr.strip()}")
        return json.loads(done.stdout)[0]["stats64"]["tx"]["bytes"]

    def remove(self):
        for name in [*self.names, self.switch]:
            for process in ip("netns", "pids", name).stdout.split():
                try:
                    os.kill(int(process), signal.SIGKILL)  # daemons of mpirun that lost their host
                except ProcessLookupError:
                    pass
            ip("netns", "del", name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


def bytes_sent_beside(process):
    """Returns Hosts.bytes_sent for the host of a process that runs there, without starting another process, which
    takes long on a busy machine."""
    for line in Path(f"/proc/{process}/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == "eth0":
            return int(counters.split()[8])
    raise OSError(f"process {process} runs on none of the hosts")


def mpirun(hosts, *words, options=()):
    """Returns the command that runs a program with one rank on each host. The ranks reach each other by TCP
    over the links only. `options` are further ones of mpirun."""
    # mpirun itself runs on the first host.
    line = [SHELL, hosts.names[0], "mpirun", "--mca", "plm_rsh_agent", SHELL,
            "--mca", "plm_rsh_no_tree_spawn", 1, "--mca", "plm", "^slurm", "--mca", "ras", "^slurm",
            "--mca", "pml", "ob1", "--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "eth0",
            "--mca", "oob_tcp_if_include", "eth0", "--bind-to", "none", *options,
            "--host", ",".join(hosts.names), *words]
    return [str(word) for word in line]


def why_no_namespaces():
    """Returns why there can be no hosts here, or None."""
    for tool in ("ip", "tc", "unshare"):
        if shutil.which(tool) is None:
            return f"there is no {tool} (packages iproute2 and util-linux)"
    try:
        with Hosts(1) as hosts:
            hosts.set_rate("1gbit")
    except OSError as error:
        return f"this machine does not let us make network namespaces with throttled links ({error})"
    return None
