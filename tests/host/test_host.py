"""The host: recorded `/proc` trees in, facts out; unlike hosts are told apart."""

import hashlib

import msgspec
import pytest

from harness import host

AMD = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: {family}
model\t\t: {model}
model name\t: {brand}
stepping\t: 1
microcode\t: 0xa0011d1
cpu MHz\t\t: 2445.426
flags\t\t: fpu sse4_2 avx avx2 fma {flags}

processor\t: 1
vendor_id\t: AuthenticAMD
"""
INTEL = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: {model}
model name\t: {brand}
stepping\t: {stepping}
cpu MHz\t\t: 2500.000
flags\t\t: fpu sse4_2 avx avx2 fma {flags}
"""
ARM = """processor\t: 0
BogoMIPS\t: 243.75
Features\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp ssbs
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: {part}
CPU revision\t: 1
"""


def tree(tmp_path, cpuinfo, **files):
    (tmp_path / "proc").mkdir(exist_ok=True)
    (tmp_path / "proc/cpuinfo").write_text(cpuinfo)
    for name, text in files.items():
        path = tmp_path / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def amd(family, model, brand="AMD EPYC 7763 64-Core Processor", flags="hypervisor"):
    return AMD.format(family=family, model=model, brand=brand, flags=flags)


def intel(model, stepping, brand="Intel(R) Xeon(R) Platinum", flags="hypervisor"):
    return INTEL.format(model=model, stepping=stepping, brand=brand, flags=flags)


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        (amd(23, 1), "EPYC 1"),
        (amd(23, 49), "EPYC 2"),
        (amd(25, 1), "EPYC 3"),
        (amd(25, 17), "EPYC 4"),
        (amd(25, 0xA0), "EPYC 4"),
        (amd(26, 2), "EPYC 5"),
        (amd(26, 0x11), "EPYC 5"),
        (amd(25, 0x61, "AMD Ryzen 9 7950X 16-Core Processor"), None),
        (amd(25, 0x18, "AMD Ryzen Threadripper PRO 7995WX"), None),
        (intel(45, 7), "Sandy Bridge"),
        (intel(62, 4), "Ivy Bridge"),
        (intel(63, 2), "Haswell"),
        (intel(79, 1), "Broadwell"),
        (intel(85, 4), "Skylake-SP"),
        (intel(85, 7), "Cascade Lake"),
        (intel(85, 11), "Cooper Lake"),
        (intel(106, 6), "Ice Lake"),
        (intel(143, 8), "Sapphire Rapids"),
        (intel(207, 2), "Emerald Rapids"),
        (intel(173, 1), "Granite Rapids"),
        (intel(158, 10, "Intel(R) Xeon(R) E-2176G CPU @ 3.70GHz"), "Coffee Lake"),
        (intel(158, 9, "Intel(R) Xeon(R) CPU E3-1230 v6"), None),
        (intel(158, 10, "Intel(R) Core(TM) i7-8700K"), None),
        (intel(999, 0), None),
        (ARM.format(part="0xd0c"), "Neoverse N1"),
        (ARM.format(part="0xd4f"), "Neoverse V2"),
        (ARM.format(part="0x001"), None),
        ("", None),
    ],
)
def test_the_generation_follows_from_family_model_and_stepping(tmp_path, cpuinfo, name):
    assert host.read_cpu(tree(tmp_path, cpuinfo)).microarchitecture == name


def test_cpu_facts_are_read_from_the_first_core(tmp_path):
    cpu = host.read_cpu(tree(tmp_path, amd(25, 17, flags="avx512f avx512_vnni avx512_bf16 hypervisor")))
    assert (cpu.cpu_vendor, cpu.cpu_family, cpu.cpu_model, cpu.cpu_stepping) == ("AuthenticAMD", 25, 17, 1)
    assert cpu.isa == ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16")
    flags = "avx avx2 avx512_bf16 avx512_vnni avx512f fma fpu hypervisor sse4_2"
    assert cpu.cpu_flags_sha256 == hashlib.sha256(flags.encode()).hexdigest()


def test_arm_is_described_by_implementer_and_part(tmp_path):
    cpu = host.read_cpu(tree(tmp_path, ARM.format(part="0xd0c")))
    assert (cpu.cpu_vendor, cpu.cpu_model) == ("ARM implementer 0x41", 0xD0C)
    assert cpu.isa == ("asimd", "asimdhp", "asimddp")


@pytest.mark.parametrize(
    ("cpuinfo", "files", "vm", "hypervisor"),
    [
        (amd(25, 1), {}, True, None),
        (amd(25, 1, flags=""), {}, False, None),
        (amd(25, 1), {"sys__class__dmi__id__sys_vendor": "QEMU\n"}, True, "QEMU"),
        (ARM.format(part="0xd0c"), {}, None, None),
        (ARM.format(part="0xd0c"), {"sys__class__dmi__id__sys_vendor": "Amazon EC2\n"}, True, "Amazon EC2"),
        (
            ARM.format(part="0xd0c"),
            {"sys__class__dmi__id__sys_vendor": "Amazon EC2\n", "sys__class__dmi__id__product_name": "m6g.metal\n"},
            False,
            "Amazon EC2",
        ),
        ("", {}, None, None),
    ],
)
def test_a_virtual_machine_is_known_by_flag_or_firmware_and_unknown_otherwise(tmp_path, cpuinfo, files, vm, hypervisor):
    found = host.probe(tree(tmp_path, cpuinfo, **files))
    assert (found.vm, found.hypervisor) == (vm, hypervisor)


def test_gpus_and_their_driver_are_read_without_a_library(tmp_path):
    root = tree(
        tmp_path,
        amd(25, 1),
        **{
            "proc__driver__nvidia__gpus__0000:01:00.0__information": "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ: 6\n",
            "proc__driver__nvidia__version": (
                "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\nGCC 12.2.0\n"
            ),
        },
    )
    found = host.probe(root)
    assert found.gpus == ("NVIDIA H100 80GB HBM3",)
    assert found.gpu_driver == "570.86.15"


def test_a_container_is_hinted(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert host.probe(tree(tmp_path, "")).container is None
    assert host.probe(tree(tmp_path, "", proc__1__cgroup="12:cpu:/kubepods/pod1\n")).container == "kubepods"
    (tmp_path / ".dockerenv").touch()
    assert host.probe(tmp_path).container == "docker"


def test_an_empty_tree_gives_unknowns_and_no_error(tmp_path):
    found = host.probe(tmp_path)
    assert found.cpu_brand is None
    assert found.memory_bytes is None
    assert found.isa is None
    assert found.gpus == ()
    assert host.fingerprint(found)


def test_this_host_can_be_probed_stored_and_read_back():
    found = host.probe()
    stored = msgspec.json.decode(msgspec.json.encode(found))
    assert msgspec.convert(stored, host.Host) == found
    assert found.versions["torch"]
    assert found.cores_online
    assert not host.difference(msgspec.to_builtins(found), stored)
    assert found.python in host.describe(found)


def changed(found, **fields):
    return msgspec.structs.replace(found, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"cpu_stepping": 99},
        {"cores_usable": 1000},
        {"memory_bytes": 2**40},
        {"gpus": ("NVIDIA H100",)},
        {"thread_env": {"OMP_NUM_THREADS": "64"}},
        {"python": "3.99.1"},
        {"kernel": "2.6.0"},
        {"governor": "test"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_hard_field_changes_the_fingerprint_and_is_named(fields):
    found = host.probe()
    other = changed(found, **fields)
    assert host.fingerprint(other) != host.fingerprint(found)
    (line,) = host.difference(msgspec.to_builtins(found), msgspec.to_builtins(other))
    assert line.split(":")[0].startswith(next(iter(fields)).split("_")[0])


def test_a_package_of_another_version_is_named_alone():
    found = host.probe()
    other = changed(found, versions={**found.versions, "torch": "0.1"})
    assert host.difference(msgspec.to_builtins(found), msgspec.to_builtins(other)) == (
        f"versions.torch: {found.versions['torch']} | 0.1",
    )
    assert host.fingerprint(other) != host.fingerprint(found)


def test_soft_fields_are_recorded_and_change_nothing():
    found = host.probe()
    patch = f"{found.kernel.split('-', 1)[0].rsplit('.', 1)[0]}.999-cloud"
    other = changed(
        found, hostname="elsewhere", load_1m=99.0, cpu_mhz=1.0, microcode="0x0", kernel=patch,
        memory_bytes=found.memory_bytes - 2**20 if found.memory_bytes else None,
    )  # fmt: skip
    assert host.fingerprint(other) == host.fingerprint(found)
    assert not host.difference(msgspec.to_builtins(found), msgspec.to_builtins(other))


def test_a_field_that_one_record_lacks_is_called_not_recorded():
    stored = msgspec.to_builtins(host.probe())
    older = {key: value for key, value in stored.items() if key != "governor"}
    older["cpu_brand"] = "another"
    lines = host.difference(older, stored)
    assert any(line.startswith("cpu_brand: another | ") for line in lines)
