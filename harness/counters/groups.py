"""Where the control groups of this process lie: in cgroup v2, or under a controller of cgroup v1."""

from __future__ import annotations


def folders(proc: str = "/proc", controller: str = "") -> list[str]:
    """Return the folder of this process's group and of all above it that are mounted, the innermost first.

    `controller` is one of cgroup v1, such as "memory"; "" means cgroup v2. Empty where this host does not mount it.
    """
    try:
        memberships = _lines(f"{proc}/self/cgroup")
        mounts = _lines(f"{proc}/self/mountinfo")
    except OSError:
        return []
    for line in mounts:
        # proc_pid_mountinfo(5): … root mount-point … - type source options
        fields, _, kind = line.partition(" - ")
        if not _mounts(kind.split(), controller):
            continue
        root, point = fields.split()[3:5]
        for membership in memberships:
            # cgroups(7): number:controllers:path, and 0::path for cgroup v2.
            _, controllers, inside = membership.split(":", 2)
            if controller in controllers.split(","):
                below = [part for part in (inside if root == "/" else inside.removeprefix(root)).split("/") if part]
                return ["/".join([point, *below[:depth]]) for depth in range(len(below), -1, -1)]
    return []


def _mounts(kind: list[str], controller: str) -> bool:
    if not controller:
        return kind[:1] == ["cgroup2"]
    return kind[:1] == ["cgroup"] and controller in kind[-1].split(",")


def _lines(path: str) -> list[str]:
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()
