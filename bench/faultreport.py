"""What `bench/faults` says of its measurements."""

import statistics
import sys

# What `--check` asks of evenkeel with `balance: peak_ewma` and all else left at its default.
CHECKED = "evenkeel-peak_ewma"
TARGETS = [
    ("slow", "p99_ms", 35),
    ("slow", "p999_ms", 60),
    ("errors", "failed %", 0.05),
    ("syn_drop", "p999_ms", 60),
    ("blackhole", "p999_ms", 60),
]
# A load generator that is later than this was kept from its work: the machine has too much to do.
LATE_MS = 20
# The same of a contestant, by the time that its threads could have run and did not.
WITHOUT_CPU = 0.2


def median(measurements, key):
    return statistics.median(each[key] for each in measurements)


def failed(measurements):
    """Per cent of all requests of all rounds."""
    return 100 * sum(each["sent"] - each["ok"] for each in measurements) / sum(each["sent"] for each in measurements)


def last_failure(measurements):
    return max((each["last_failure_s"] for each in measurements if each["last_failure_s"] is not None), default=None)


def reached(measurements):
    counts = [each["reached"] for each in measurements if each["reached"] is not None]
    return statistics.median(counts) if counts else None


def print_report(results, environment, options):
    kind = "constant" if options.constant else "exponential"
    print(f"\n{options.rate} requests/s over six backends of {options.service} ms ({kind}), one of which breaks.\n"
          f"Median of {options.rounds} rounds of {options.seconds} s, all of them with the fault; a request that fails "
          f"counts as one of {options.timeout} s")
    for fault, contestants in results.items():
        print_table(fault, contestants)
    print(f"\n{environment['cpus']} CPUs ({environment['cpu']}), load average before: {environment['load_average']:.2f}")


def print_table(fault, contestants):
    width = max(map(len, contestants), default=0) + 2
    headings = ["p50 ms", "p99 ms", "p99.9 ms", "good p99", "good p99.9", "failed %", "until s", "reached"]
    print(f"\n{fault:{width}}" + "".join(f"{heading:>11}" for heading in headings))
    for name, each in contestants.items():
        keys = ("p50_ms", "p99_ms", "p999_ms", "ok_p99_ms", "ok_p999_ms")
        times = "".join(f"{median(each, key):11,.1f}" for key in keys)
        until, count = last_failure(each), reached(each)
        ends = "".join("          -" if value is None else f"{value:11,.{digits}f}"
                       for value, digits in ((until, 1), (count, 0)))
        print(f"{name:{width}}{times}{failed(each):11.3f}{ends}  {kinds(each)}".rstrip())


def kinds(measurements):
    found = sorted({kind for each in measurements for kind in each["failures"]})
    return ", ".join(f"{sum(each['failures'].get(kind, 0) for each in measurements):,} {kind}" for kind in found)


def warn_if_busy(results):
    everything = [one for each in results.values() for rounds in each.values() for one in rounds]
    latest = max(one["late_p99_ms"] for one in everything)
    if latest > LATE_MS:
        print(f"\nThe load generator was up to {latest:.0f} ms late: this machine had too much to do, and the tails say so",
              file=sys.stderr)
    longest = max(one["without_cpu"] for one in everything)
    if longest > WITHOUT_CPU:
        print(f"\nOthers kept a contestant from its CPU for up to {100 * longest:.0f} % of the time: this machine had too much "
              "to do, and the tails say so (--at-once 1, or --nice -15 as root)", file=sys.stderr)


def missing(faults, contestants):
    """What `--check` needs and was not asked for."""
    return sorted({fault for fault, _, _ in TARGETS} - set(faults)) + sorted({CHECKED} - set(contestants))


def verdict(results):
    print()
    passed = True
    for fault, key, most in TARGETS:
        measurements = results[fault][CHECKED]
        found = failed(measurements) if key == "failed %" else median(measurements, key)
        good = found <= most
        passed &= good
        print(f"{'ok' if good else 'MISSED':8}{fault}: {key.replace('_', ' ')} of {CHECKED} is {found:.3f}, at most {most}")
    return 0 if passed else 1
