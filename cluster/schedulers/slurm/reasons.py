"""The words of Slurm, of jobs that wait and of jobs that ended, for people."""

from __future__ import annotations

from datetime import datetime, timedelta

# Why a job waits: REASON of squeue (https://slurm.schedmd.com/job_reason_codes.html). The second kind never ends.
_WAITS = {
    "None": "not looked at yet",
    "Priority": "others are before it",
    "Resources": "no node has room",
    "BeginTime": "Slurm lets it wait after a requeue",
    "Dependency": "other jobs end first",
    "Licenses": "no license is free",
    "ReqNodeNotAvail": "its nodes are down or reserved",
    "Nodes_required_for_job_are_DOWN,_DRAINED_or_reserved_for_jobs_in_higher_priority_partitions":
        "its nodes are down or reserved",
    "JobArrayTaskLimit": "as many of its array run as may",
    "Reservation": "its reservation has not begun",
    "PartitionDown": "its partition is down",
    "PartitionInactive": "its partition starts no jobs now",
    "JobHeldAdmin": "an administrator holds it",
    "JobHeldUser": "held: scontrol release lets it go",
    "launch_failed_requeued_held": "its node could not start it; held: scontrol release lets it go",
    "QOSMaxJobsPerUserLimit": "as many of your jobs run as this QOS allows",
    "QOSMaxCpuPerUserLimit": "your jobs have as many CPUs as this QOS allows",
    "QOSMaxMemoryPerUser": "your jobs have as much memory as this QOS allows",
    "QOSGrpCpuLimit": "the jobs of this QOS have all its CPUs",
    "QOSGrpJobsLimit": "as many jobs run as this QOS allows",
    "AssocMaxJobsLimit": "as many jobs run as your account allows",
    "AssocGrpCpuLimit": "the jobs of your account have all its CPUs",
    "AssocGrpJobsLimit": "as many jobs run as your account allows",
    "AssocGrpCPUMinutesLimit": "your account has no CPU time left",
}  # fmt: skip
_NEVER = {
    "InvalidAccount": "no such account: --engine-option account=",
    "InvalidQOS": "no such QOS for you: --engine-option qos=",
    "BadConstraints": "no node is as is asked for: fewer --cpus, less --mem-mib, or another constraint",
    "PartitionTimeLimit": "the partition allows less time: a shorter --time",
    "PartitionNodeLimit": "the partition has not so many nodes, or not such ones",
    "QOSMaxWallDurationPerJobLimit": "this QOS allows less time: a shorter --time",
    "QOSMaxCpuPerJobLimit": "this QOS allows fewer CPUs a job: fewer --cpus",
    "AssocMaxWallDurationPerJobLimit": "your account allows less time: a shorter --time",
    "AssocMaxCpuPerJobLimit": "your account allows fewer CPUs a job: fewer --cpus",
    "AccountNotAllowed": "the account may not use this partition",
    "QOSNotAllowed": "the QOS may not be used here",
}

_SOON = timedelta(days=30)

_ENDS = {
    "TIMEOUT": "its time limit was over",
    "NODE_FAIL": "its node failed",
    "OUT_OF_MEMORY": "it needed more memory than it asked for: more --mem-mib",
    "CANCELLED": "it was cancelled",
    "PREEMPTED": "it made room for another job",
    "DEADLINE": "its deadline was over",
    "BOOT_FAIL": "its node did not boot",
    "FAILED": "it failed",
    "COMPLETED": "it has ended",
}


def why_waiting(reason: str, state: str = "PENDING", starts: str = "") -> str:
    """Return why a job waits, with Slurm's own words: `PENDING (Priority): others are before it`.

    `starts` is when Slurm means to start it, `2026-11-30T06:15:45` by the cluster's clock, as far as it knows that.
    """
    # Some are followed by more: `ReqNodeNotAvail, UnavailableNodes:n1`.
    first = reason.strip("()").partition(",")[0].strip()
    words = {**_WAITS, **_NEVER}.get(reason.strip("()"), {**_WAITS, **_NEVER}.get(first, ""))
    until = f", until {starts[:16].replace('T', ' ')} by Slurm's plan" if _is_soon(starts) else ""
    return f"{state} ({reason.strip('()')}){f': {words}' if words else ''}{until}"


def _is_soon(starts: str) -> bool:
    """Return True for a time that means something: of jobs without a limit Slurm supposes that they take a year."""
    try:
        return datetime.fromisoformat(starts) - datetime.now() < _SOON
    except ValueError:
        return False


def never_starts(reason: str) -> bool:
    """Return True where a job waits for something that no time brings."""
    return reason.strip("()").partition(",")[0].strip() in _NEVER


def why_ended(state: str) -> str:
    """Return how a job came to its end, by the state that Slurm gives it."""
    return _ENDS.get(state.partition(" ")[0], state.lower())
