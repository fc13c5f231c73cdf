"""Which generation of server CPU a family, a model and a stepping are; what a hypervisor hides stays unknown."""

from __future__ import annotations

# (family, first model, last model) of server parts; Ryzen shares families, so its brand is refused below.
_AMD = (
    (0x17, 0x00, 0x0F, "EPYC 1"),
    (0x17, 0x30, 0x3F, "EPYC 2"),
    (0x19, 0x00, 0x0F, "EPYC 3"),
    (0x19, 0x10, 0x1F, "EPYC 4"),
    (0x19, 0xA0, 0xAF, "EPYC 4"),
    (0x1A, 0x00, 0x1F, "EPYC 5"),
)
_INTEL = {
    45: "Sandy Bridge",
    62: "Ivy Bridge",
    63: "Haswell",
    79: "Broadwell",
    86: "Broadwell",
    106: "Ice Lake",
    108: "Ice Lake",
    143: "Sapphire Rapids",
    207: "Emerald Rapids",
    173: "Granite Rapids",
    174: "Granite Rapids",
}
# These models are client dies too, so the brand must say Xeon.
_INTEL_XEON_E = {42: "Sandy Bridge", 58: "Ivy Bridge", 60: "Haswell", 71: "Broadwell", 158: "Coffee Lake"}
_ARM = {(0x41, 0xD0C): "Neoverse N1", (0x41, 0xD40): "Neoverse V1", (0x41, 0xD49): "Neoverse N2",
        (0x41, 0xD4F): "Neoverse V2"}  # fmt: skip


def of(
    vendor: str | None, family: int | None, model: int | None, stepping: int | None, brand: str | None
) -> str | None:
    """Return the server generation in the words of `meters/cpu_watts.csv`, or None if it is not known.

    The numbers are the vendors' CPUID family/model/stepping (Linux `intel-family.h`, AMD revision
    guides) and, on ARM, implementer and part number. Desktop and laptop parts give None: a table
    of server watts says nothing about them.
    """
    if family is None or model is None:
        return None
    if vendor == "AuthenticAMD" and "Ryzen" not in (brand or ""):
        return next((name for fam, low, high, name in _AMD if family == fam and low <= model <= high), None)
    if vendor == "GenuineIntel" and family == 6:
        return _intel(model, stepping, brand or "")
    return _ARM.get((family, model)) if vendor and vendor.startswith("ARM") else None


def _intel(model: int, stepping: int | None, brand: str) -> str | None:
    if model == 85:  # one model number, three generations
        if stepping is None:
            return None
        return "Skylake-SP" if stepping < 5 else "Cascade Lake" if stepping < 10 else "Cooper Lake"
    if model in _INTEL_XEON_E and "Xeon" in brand:
        kaby_lake = model == 158 and (stepping is None or stepping < 10)
        return None if kaby_lake else _INTEL_XEON_E[model]
    return _INTEL.get(model)
