"""What is done to a balancer under load, and all that is seen meanwhile."""

import time

import actors
import balancers
import common

# Seconds after the last client has gone within which all its requests are to be over.
LEASES_END = 10


class Observed:
    """A run: its samples of memory and files, its parts with what happened in each, and what went wrong with commands."""

    def __init__(self, balancer, mirror, traffic):
        self.balancer, self.mirror, self.traffic = balancer, mirror, traffic
        self.samples, self.parts, self.problems = [], {}, []
        self.reloads, self.upgrades = [], []
        self.current, self.begin = None, time.monotonic()
        self.end_of_last = None

    def part(self, name):
        """Ends the part before and begins another."""
        report, probes, now = self.traffic.report(), self.mirror.probes(), time.monotonic()
        if self.current:
            before, probed, since = self.end_of_last
            seconds = now - since
            shares, answers = actors.shares(self.balancer.scene.web, report, before)
            self.parts[self.current] = {
                "seconds": seconds, "shares": shares, "answers": answers,
                "probes_per_s": (probes["probes"] - probed["probes"]) / seconds / probes["backends"],
                "probe_burst": probes["burst"],
            }
        self.current, self.end_of_last = name, (report, probes, now)

    def sample(self):
        pids = self.balancer.serving()
        everybody = self.balancer.all_processes() if hasattr(self.balancer, "all_processes") else pids
        links = [link for pid in pids for link in balancers.open_files(pid)]
        alive = balancers.established()
        sockets = [link[8:-1] for link in links if link.startswith("socket:")]
        self.samples.append({
            "part": self.current, "at_s": time.monotonic() - self.begin, "pids": pids, "processes": len(everybody),
            "rss_mib": sum(common.status_kib(pid, "VmRSS") for pid in pids) / 1024,
            "all_rss_mib": sum(common.status_kib(pid, "VmRSS") for pid in everybody) / 1024,
            "threads": sum(common.status_kib(pid, "Threads") for pid in pids),
            "files": len(links), "connections": sum(inode in alive for inode in sockets),
            # Connections come and go with the load. Nothing else should: listeners, and what is closed and still held.
            "other_sockets": sum(inode not in alive for inode in sockets), "other_files": len(links) - len(sockets),
        })

    def reload(self, number, what):
        self.traffic.enter("reload")
        took, seen, wrong = self.balancer.reload(what, number)
        self.reloads.append({"number": number, "what": what, "part": self.current, "command_s": took, "seen_s": seen})
        self.note(wrong, f"reload {number} ({what})")
        self.sample()
        self.traffic.enter(f"after a reload ({self.current})")

    def refuse(self):
        self.traffic.enter("broken file")
        self.note(self.balancer.refuse(), "a broken file")

    def upgrade(self, number):
        self.traffic.enter("upgrade")
        begin = time.monotonic()
        took, wrong = self.balancer.upgrade()
        self.upgrades.append({"number": number, "took_s": took, "at_s": begin - self.traffic.begin})
        self.note(wrong, f"upgrade {number}")
        self.sample()
        self.traffic.enter("after an upgrade")

    def note(self, wrong, when):
        if wrong:
            self.problems.append(f"{when}: {wrong}")

    def failed(self):
        return actors.failures(self.traffic.report()) + len(self.problems)

    def finish(self):
        self.part("end")
        report = self.traffic.finish()
        # The last part is not one: of those before, all seconds count.
        seconds = sum(part["seconds"] for part in self.parts.values())
        return {"seconds": seconds, "report": report, "parts": self.parts, "samples": self.samples, "reloads": self.reloads,
                "upgrades": self.upgrades, "problems": self.problems, "leaked": self.leaked()}

    def leaked(self):
        """Requests in flight by the balancer's own account when nobody asks for anything any more."""
        if self.balancer.name != "evenkeel":
            return 0
        deadline = time.monotonic() + LEASES_END
        while True:
            try:
                left = actors.in_flight(self.balancer.admin_port)
            except actors.UNREACHABLE as failure:
                return f"unknown: {failure}"
            if left == 0 or time.monotonic() > deadline:
                return left
            time.sleep(0.1)
