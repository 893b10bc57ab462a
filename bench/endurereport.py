"""What `bench/endure` says of its runs, and what it asks of Evenkeel."""

import statistics
import sys

import actors

# The part of the reloads after which memory and files must have settled: 50 of 500.
SETTLED = 0.1
MEMORY = 1.10
# After a few seconds nothing has settled yet, and a client that was kept from its work opens more connections: so for fewer reloads than
# this, there may be so many MiB and connections beside.
FEW_RELOADS, SHORT_MIB, SHORT_CONNECTIONS = 100, 48, 1000
# Connections are the load's own: late requests need more of them at once. What leaks with every reload is more than that.
CONNECTIONS, MORE_CONNECTIONS = 1.25, 128
# A connection that is just being closed is for a moment held and not open any more.
CLOSING = 16
# Threads for calls that block come when they are needed and go ten seconds later.
BLOCKING = 4
# Shares may differ by so many standard deviations of the difference of two independent runs. p2c's picks are not independent: who
# was given a request is less likely to get the next. So the real deviation is smaller, and this is a generous bound for
# chance; what this machine does to the times of answers is the rest of it.
DEVIATIONS, DRIFT = 4, 0.005
# A probe each 2 s: more than two within a second are a burst, and a quarter more of them in all is another rhythm.
BURST, RHYTHM = 2, 1.25
# A client that was later than this was kept from its work: the machine had too much to do.
LATE_MS = 100


def print_report(results, quiet, environment, options):
    print(f"\n{options.rate} + {options.h2_rate} requests/s by HTTP/1.1 and HTTP/2, {options.websockets} WebSockets, "
          f"{options.downloads} downloads of {options.download_time} s; {options.reloads} reloads")
    columns = {**results, **({"evenkeel, left alone": quiet} if quiet else {})}
    width = 48
    print("\n" + " " * width + "".join(f"{name:>22}" for name in columns))
    for title, of in ROWS:
        print(f"{title:{width}}" + "".join(f"{of(each):>22}" for each in columns.values()))
    print("\nfailed, by kind")
    for kind in sorted({kind for each in columns.values() for kind in each["report"]["failures"]}) or ["nothing"]:
        found = [each["report"]["failures"].get(kind, {}).get("count", 0) for each in columns.values()]
        print(f"  {kind:{width - 2}}" + "".join(f"{count:>22,}" for count in found))
    for name, each in columns.items():
        print_first_failures(name, each)
        for problem in each["problems"]:
            print(f"{name}: {problem}")
    print(f"\n{environment['cpus']} CPUs ({environment['cpu']}), load average before: {environment['load_average']:.2f}")
    latest = max(each["report"]["late_ms"] for each in columns.values())
    if latest > LATE_MS:
        print(f"The client was up to {latest:.0f} ms late: this machine had too much to do, and the latencies say so", file=sys.stderr)


def print_first_failures(name, result):
    for kind, each in result["report"]["failures"].items():
        phases = ", ".join(f"{count:,} in '{phase}'" for phase, count in each["phases"].items())
        print(f"{name}: {kind}: the first after {each['first_s']:.1f} s; {phases}")


def count(*names):
    return lambda result: f"{sum(result['report']['counts'].get(name, 0) for name in names):,}"


def requests(result):
    return sum(result["report"]["counts"].get(name, 0) for name in ("h1 GET", "h1 POST", "h2 GET", "h2 POST"))


def seconds_of(result, key):
    times = [each[key] for each in result["reloads"] if each[key] is not None]
    return f"{1000 * statistics.median(times):.0f} / {1000 * max(times):.0f}" if times else "-"


def upgrade_seconds(result):
    times = [each["took_s"] for each in result["upgrades"]]
    return f"{1000 * statistics.median(times):.0f} / {1000 * max(times):.0f}" if times else "-"


def early_and_late(result, key, part="reloads"):
    """A sample when things have settled and one at the end: medians of a few, for connections come and go."""
    values = [each[key] for each in result["samples"] if each["part"] == part]
    if len(values) < 4:
        return None
    settled = int(len(values) * SETTLED)
    few = max(1, min(5, len(values) // 10))
    return statistics.median(values[settled:settled + few]), statistics.median(values[-few:])


def grown(key, digits=0, part="reloads"):
    def of(result):
        found = early_and_late(result, key, part)
        return f"{found[0]:,.{digits}f} -> {found[1]:,.{digits}f}" if found else "-"

    return of


def probes(part):
    def of(result):
        found = result["parts"].get(part)
        return f"{found['probes_per_s']:.2f} / {found['probe_burst']}" if found else "-"

    return of


ROWS = [
    ("requests", lambda result: f"{requests(result):,}"),
    ("  of them POSTs", count("h1 POST", "h2 POST")),
    ("  sent again, as HTTP allows", count("sent again, by another connection")),
    ("connections", count("h1 connections", "h2 connections")),
    ("WebSocket messages that came back", count("WebSocket echoes")),
    ("downloads that ended", count("downloads")),
    ("failed in all", lambda result: f"{actors.failures(result['report']):,}"),
    ("p50 / p99 / max ms",
     lambda result: " / ".join(f"{result['report'][key] or 0:.1f}" for key in ("p50_ms", "p99_ms", "max_ms"))),
    ("the client itself was late by, at most, ms", lambda result: f"{result['report']['late_ms']:.0f}"),
    ("reload command, median / max ms", lambda result: seconds_of(result, "command_s")),
    ("until a reload is seen, median / max ms", lambda result: seconds_of(result, "seen_s")),
    ("upgrade command, median / max ms", upgrade_seconds),
    ("memory MiB, settled -> end of the reloads", grown("rss_mib", 1)),
    ("memory MiB, first -> last successor", grown("rss_mib", 1, "upgrades")),
    ("open files, settled -> end of the reloads", grown("files")),
    ("  of them connections", grown("connections")),
    ("  of them other sockets", grown("other_sockets")),
    ("  of them not sockets", grown("other_files")),
    ("threads, settled -> end of the reloads", grown("threads")),
    ("processes, at most", lambda result: f"{max((each['processes'] for each in result['samples']), default=0)}"),
    ("memory of all processes, at most, MiB",
     lambda result: f"{max((each['all_rss_mib'] for each in result['samples']), default=0):,.0f}"),
    ("probes of a backend per s, most within one", probes("reloads")),
    ("  during the upgrades", probes("upgrades")),
    ("shares of p2c %, during the reloads",
     lambda result: " ".join(f"{100 * share:.1f}" for share in result["parts"]["reloads"]["shares"])),
]


def verdict(result, quiet, options):
    """The exit status: whether all that is asked for is there."""
    print()
    passed = True
    for good, what in checks(result, quiet, options):
        passed &= good
        print(f"{'ok' if good else 'MISSED':8}{what}")
    return 0 if passed else 1


def checks(result, quiet, options):
    failed = unexpected(result, options)
    yield not failed, f"failed requests and streams that were cut: {failed}"
    yield not result["problems"], f"reloads and upgrades that went wrong: {len(result['problems'])}"
    yield result["leaked"] == 0, f"requests in flight when all is over: {result['leaked']}"
    is_short = options.reloads < FEW_RELOADS
    beside, more = (SHORT_MIB, SHORT_CONNECTIONS) if is_short else (0, MORE_CONNECTIONS)
    for key, limit in (("rss_mib", lambda early: MEMORY * early + beside),
                       ("connections", lambda early: CONNECTIONS * early + more), ("other_sockets", lambda early: early + CLOSING),
                       ("other_files", lambda early: early), ("threads", lambda early: early + BLOCKING)):
        found = early_and_late(result, key)
        if found:
            early, late = found
            yield late <= limit(early), f"{key.replace('_', ' ')} from {early:,.1f} to {late:,.1f}, at most {limit(early):,.1f}"
    yield from check_shares(result, quiet)
    yield from check_probes(result, quiet)


def unexpected(result, options):
    """Failures, without those that are not asked for, and without the streams that an old process may cut at its bound."""
    report, but = result["report"], tuple(options.but)
    failed = actors.failures(report, but)
    if options.stream_bound is None:
        return failed
    times = [each["at_s"] for each in result["upgrades"]]
    return failed - sum(any(each["opened_s"] < at and each["at_s"] >= at + options.stream_bound - 1 for at in times)
                        for each in report["cuts"] if not each["kind"].endswith(but))


def check_shares(result, quiet):
    if not quiet:
        return
    with_reloads, without = result["parts"]["reloads"], quiet["parts"]["reloads"]
    n1, n2 = with_reloads["answers"], without["answers"]
    for number, (one, other) in enumerate(zip(with_reloads["shares"], without["shares"]), 1):
        mean = (one * n1 + other * n2) / (n1 + n2)
        most = DEVIATIONS * (mean * (1 - mean) * (1 / n1 + 1 / n2)) ** 0.5 + DRIFT
        yield abs(one - other) <= most, (f"share of backend {number} by p2c: {100 * one:.2f} %, and left alone {100 * other:.2f} %; "
                                         f"at most {100 * most:.2f} apart")


def check_probes(result, quiet):
    usual = quiet["parts"]["reloads"]["probes_per_s"]
    for part, found in result["parts"].items():
        # An old process probes until its last stream has ended; a new one begins with a probe.
        processes = max((each["processes"] for each in result["samples"] if each["part"] == part), default=1)
        first = len(result["upgrades"]) / found["seconds"] if part == "upgrades" else 0
        most = RHYTHM * processes * usual + first
        if part != "after":
            yield found["probes_per_s"] <= most, (f"probes of a backend per second, {part}: {found['probes_per_s']:.2f}, at most "
                                                  f"{most:.2f} of {processes} process(es); left alone {usual:.2f}")
    burst = result["parts"]["reloads"]["probe_burst"]
    yield burst <= BURST, f"most probes of a backend within a second, reloads: {burst}, at most {BURST}"
