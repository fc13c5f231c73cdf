"""What this host is, and whether two hosts may be compared.

Nothing here runs on import. `probe` reads small files under `/proc` and `/sys` and the metadata of
installed packages; it imports no package, starts no process and asks no network. What the host does
not say is None, never a guess.

*Hard* fields decide whether numbers of two hosts may stand side by side; `fingerprint` hashes them.
*Soft* fields (hostname, kernel patch, load, clock frequency) change from hour to hour on one machine:
they are recorded and never hashed. The energy meters of a run are hard too, but belong to its records.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness import microarchitecture
from harness.records import Frozen

_ISA = (
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx_vnni",
    "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
    "asimd", "asimdhp", "asimddp", "sve", "sve2", "i8mm", "bf16",
)  # fmt: skip
_PACKAGES = ("torch", "transformers", "tokenizers", "onnxruntime", "onnx", "numpy")
_THREAD_ENV = (
    "OMP_NUM_THREADS", "OMP_PROC_BIND", "OMP_PLACES", "OMP_WAIT_POLICY", "OMP_DYNAMIC", "GOMP_CPU_AFFINITY",
    "KMP_AFFINITY", "KMP_BLOCKTIME", "MKL_NUM_THREADS", "MKL_DYNAMIC", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "TOKENIZERS_PARALLELISM", "ATEN_CPU_CAPABILITY",
)  # fmt: skip
_SOFT = (
    "hostname", "kernel", "python", "load_1m", "cpu_mhz", "microcode", "memory_bytes",
)  # fmt: skip


class Cpu(Frozen, frozen=True, kw_only=True):
    """The processor, as `/proc/cpuinfo` describes its first core; each field None where it is silent."""

    cpu_brand: str | None = None
    cpu_vendor: str | None = None
    cpu_family: int | None = None
    cpu_model: int | None = None
    cpu_stepping: int | None = None
    cpu_flags_sha256: str | None = None
    microarchitecture: str | None = None
    isa: tuple[str, ...] | None = None
    microcode: str | None = None
    cpu_mhz: float | None = None


class Host(Cpu, frozen=True, kw_only=True):
    """One machine with its software; see the module for hard and soft fields.

    `cores_online` counts logical cores of the machine, `cores_usable` those this process may run on.
    `vm` is None where neither the CPU flags nor the firmware tell.
    """

    cores_online: int | None
    cores_usable: int | None
    memory_bytes: int | None
    gpus: tuple[str, ...]
    gpu_driver: str | None
    vm: bool | None
    hypervisor: str | None
    container: str | None
    governor: str | None
    turbo: str | None
    os: str
    arch: str
    kernel: str
    python: str
    versions: dict[str, str | None]
    thread_env: dict[str, str]
    hostname: str
    load_1m: float | None


def probe(root: Path = Path("/")) -> Host:
    """Return what this host is, reading `/proc` and `/sys` below `root` (tests give a tree of their own)."""
    gpus, driver = _gpus(root)
    vm, hypervisor = _virtualisation(root)
    return Host(
        **msgspec.structs.asdict(read_cpu(root)),
        cores_online=os.cpu_count(),
        cores_usable=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        memory_bytes=_memory_bytes(root),
        gpus=gpus,
        gpu_driver=driver,
        vm=vm,
        hypervisor=hypervisor,
        container=_container(root),
        governor=_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        turbo=_turbo(root),
        os=platform.system(),
        arch=platform.machine(),
        kernel=platform.release(),
        python=platform.python_version(),
        versions={name: _version(name) for name in _PACKAGES},
        thread_env={name: os.environ[name] for name in _THREAD_ENV if name in os.environ},
        hostname=platform.node(),
        load_1m=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def read_cpu(root: Path = Path("/")) -> Cpu:
    """Return the processor of this host (one small file read; all None where there is no `/proc`)."""
    fields = _cpuinfo(_text(root / "proc/cpuinfo") or "")
    flags = sorted((fields.get("flags") or fields.get("Features") or "").split())
    vendor, brand = fields.get("vendor_id"), fields.get("model name")
    family, model, stepping = (_int(fields.get(key)) for key in ("cpu family", "model", "stepping"))
    implementer, part = _int(fields.get("CPU implementer")), _int(fields.get("CPU part"))
    if implementer is not None:
        vendor, family, model = f"ARM implementer 0x{implementer:02x}", implementer, part
        stepping = _int(fields.get("CPU revision"))
    mhz = fields.get("cpu MHz")
    return Cpu(
        cpu_brand=brand,
        cpu_vendor=vendor,
        cpu_family=family,
        cpu_model=model,
        cpu_stepping=stepping,
        cpu_flags_sha256=hashlib.sha256(" ".join(flags).encode()).hexdigest() if flags else None,
        microarchitecture=microarchitecture.of(vendor, family, model, stepping, brand),
        isa=tuple(name for name in _ISA if name in flags) if flags else None,
        microcode=fields.get("microcode"),
        cpu_mhz=float(mhz) if mhz else None,
    )


def hard(host: Host) -> dict[str, Any]:
    """Return the fields that must be equal before numbers of two hosts are compared."""
    return _hard(msgspec.to_builtins(host))


def fingerprint(host: Host) -> str:
    """Return the SHA-256 (64 hex digits) of the canonical JSON of the hard fields."""
    return hashlib.sha256(msgspec.json.encode(hard(host), order="sorted")).hexdigest()


def difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[str, ...]:
    """Return one line a hard field in which two hosts differ; empty if they are comparable.

    `a` and `b` are hosts as `run.json` keeps them (`msgspec.to_builtins(host)`).
    """
    left, right = _flat(_hard(a)), _flat(_hard(b))
    keys = sorted(left.keys() | right.keys())
    return tuple(
        f"{key}: {_shown(left, key)} | {_shown(right, key)}" for key in keys if left.get(key) != right.get(key)
    )


def describe(host: Host) -> str:
    """Return the host in three lines for people."""
    generation = host.microarchitecture or "microarchitecture not known"
    machine = {True: "virtual machine", False: "no hypervisor seen", None: "virtual or not: unknown"}[host.vm]
    memory = f"{host.memory_bytes / 2**30:.1f} GiB" if host.memory_bytes else "memory unknown"
    gpus = ", ".join(host.gpus) if host.gpus else "no NVIDIA GPU"
    packages = ", ".join(f"{name} {version}" for name, version in host.versions.items() if version)
    return (
        f"{host.cpu_brand or 'CPU not named'} ({generation}), {host.cores_usable or host.cores_online} of "
        f"{host.cores_online} cores, {memory}, {gpus}\n"
        f"{machine}, container: {host.container or 'none seen'}, {host.os} {host.kernel} {host.arch}\n"
        f"Python {host.python}, {packages}"
    )


def _hard(host: Mapping[str, Any]) -> dict[str, Any]:
    # A host read back from JSON has lists where a fresh one has tuples.
    items = ((key, list(value) if isinstance(value, tuple) else value) for key, value in host.items())
    fields = {key: value for key, value in items if key not in _SOFT}
    # Kernels reserve slightly different amounts of the same RAM; half-octave classes absorb that.
    memory = host.get("memory_bytes")
    fields["memory_class_gib"] = round(2 ** (round(2 * math.log2(memory / 2**30)) / 2), 1) if memory else None
    fields["kernel_series"] = ".".join(str(host.get("kernel") or "").split(".")[:2]) or None
    fields["python_minor"] = ".".join(str(host.get("python") or "").split(".")[:2]) or None
    return fields


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with `versions` and `thread_env` opened to one field a key."""
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        flat.update({f"{key}.{inner}": value[inner] for inner in value} if isinstance(value, dict) else {key: value})
    return flat


def _shown(fields: Mapping[str, Any], key: str) -> str:
    if key not in fields:
        return "not recorded"
    value = fields[key]
    return "unknown" if value is None else str(value)


def _cpuinfo(text: str) -> dict[str, str]:
    """Return the fields of the first core; ARM puts a blank line after each core as x86 does."""
    pairs = (line.split(":", 1) for line in text.split("\n\n", 1)[0].splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _memory_bytes(root: Path) -> int | None:
    found = re.search(r"^MemTotal:\s+(\d+) kB", _text(root / "proc/meminfo") or "", re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _gpus(root: Path) -> tuple[tuple[str, ...], str | None]:
    models = []
    for path in sorted((root / "proc/driver/nvidia/gpus").glob("*/information")):
        found = re.search(r"^Model:\s*(.+)$", _text(path) or "", re.MULTILINE)
        models.append(found[1].strip() if found else "unnamed NVIDIA GPU")
    driver = re.search(r"\b(\d{3}\.\d+(?:\.\d+)?)\b", _text(root / "proc/driver/nvidia/version") or "")
    return tuple(models), driver[1] if driver else None


def _virtualisation(root: Path) -> tuple[bool | None, str | None]:
    cpuinfo = _cpuinfo(_text(root / "proc/cpuinfo") or "")
    vendor = _text(root / "sys/class/dmi/id/sys_vendor")
    product = _text(root / "sys/class/dmi/id/product_name") or ""
    xen = _text(root / "sys/hypervisor/type")
    if "hypervisor" in cpuinfo.get("flags", "").split() or xen:
        return True, xen or vendor
    if vendor and re.search(r"QEMU|Xen|VMware|innotek|Parallels|Bochs", vendor):
        return True, vendor
    if vendor == "Amazon EC2" or (vendor == "Microsoft Corporation" and product == "Virtual Machine"):
        return ".metal" not in product, vendor
    if "flags" in cpuinfo or vendor:  # x86 hypervisors set the flag, so its absence is an answer
        return False, None
    return None, None


def _container(root: Path) -> str | None:
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    if (root / ".dockerenv").exists():
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    found = re.search(r"kubepods|docker|containerd|lxc|libpod", _text(root / "proc/1/cgroup") or "")
    return found[0] if found else None


def _turbo(root: Path) -> str | None:
    no_turbo = _text(root / "sys/devices/system/cpu/intel_pstate/no_turbo")
    boost = _text(root / "sys/devices/system/cpu/cpufreq/boost")
    if no_turbo is not None:
        return "off" if no_turbo == "1" else "on"
    return None if boost is None else "on" if boost == "1" else "off"


def _version(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _int(text: str | None) -> int | None:
    try:
        return int(text, 0) if text is not None else None
    except ValueError:
        return None
