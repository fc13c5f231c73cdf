"""Free memory: what the host has, and what the control groups above this process leave of it."""

from harness.counters import memory

V2 = "31 23 0:28 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 {root} /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
    "35 31 0:32 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
MIB = 2**20


def tree(root, membership, mounts, available_mib=1000, **groups):
    """Write a host with free memory and groups, whose files are named with `__` for `/`."""
    proc = root / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(f"MemTotal: 9 kB\nMemFree: 2 kB\nMemAvailable:     {available_mib * 1024} kB\n")
    (proc / "self/cgroup").write_text(membership)
    (proc / "self/mountinfo").write_text(mounts)
    for name, text in groups.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def v2(limit_mib, use_mib, given_back_mib=0, group=""):
    return {
        f"{group}memory.max": "max" if limit_mib is None else limit_mib * MIB,
        f"{group}memory.current": use_mib * MIB,
        f"{group}memory.stat": f"anon 7\nfile 9\ninactive_file {given_back_mib * MIB}\nactive_file 5",
    }


def test_a_host_that_does_not_say_leaves_it_unknown(tmp_path):
    assert memory.free_bytes(tmp_path) is None


def test_without_a_limit_it_is_what_the_host_has(tmp_path):
    root = tree(tmp_path, "0::/\n", V2.format(root="/"))
    assert memory.free_bytes(root) == 1000 * MIB


def test_a_limited_container_has_what_its_group_leaves(tmp_path):
    root = tree(tmp_path, "0::/\n", V2.format(root="/"), **v2(600, 500, 150))
    assert memory.free_bytes(root) == 250 * MIB


def test_the_narrowest_of_the_groups_above_counts(tmp_path):
    groups = {**v2(None, 10, group="a__b__c__"), **v2(300, 100, group="a__b__"), **v2(900, 850, group="a__")}
    root = tree(tmp_path, "0::/a/b/c\n", V2.format(root="/"), **groups)
    assert memory.free_bytes(root) == 50 * MIB


def test_a_group_without_the_memory_controller_is_passed_over(tmp_path):
    root = tree(tmp_path, "0::/a/joulebench-7\n", V2.format(root="/"), **v2(300, 100, group="a__"))
    assert memory.free_bytes(root) == 200 * MIB


def test_a_group_beyond_its_limit_has_nothing_left(tmp_path):
    root = tree(tmp_path, "0::/\n", V2.format(root="/"), **v2(600, 601))
    assert memory.free_bytes(root) == 0


def test_a_limit_above_what_the_host_has_changes_nothing(tmp_path):
    root = tree(tmp_path, "0::/\n", V2.format(root="/"), available_mib=40, **v2(600, 100))
    assert memory.free_bytes(root) == 40 * MIB


def test_the_first_cgroups_are_read_by_their_own_names(tmp_path):
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat")
    values = (600 * MIB, 500 * MIB, f"inactive_file 1\ntotal_inactive_file {30 * MIB}")
    inner = {f"memory__{name}": value for name, value in zip(names, values, strict=True)}
    membership = "8:pids:/docker/x\n4:memory:/docker/x\n1:cpu:/docker/x\n0::/\n"
    root = tree(tmp_path, membership, V1.format(root="/docker/x"), **inner)
    assert memory.free_bytes(root) == 130 * MIB


def test_the_first_cgroups_call_no_limit_a_very_large_one(tmp_path):
    files = {"memory__a__memory.limit_in_bytes": 9223372036854771712, "memory__a__memory.usage_in_bytes": 5}
    root = tree(tmp_path, "4:memory:/a\n0::/\n", V1.format(root="/"), **files)
    assert memory.free_bytes(root) == 1000 * MIB


def test_this_host_says():
    free = memory.free_bytes()
    assert free is None or free > 0
