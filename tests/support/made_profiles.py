"""Profiles that nobody recorded, for the page: made-up times of full fine-tuning and of BitFit."""

from __future__ import annotations

from pathlib import Path

from bench.cell import CostCell
from bench.profiles import PROFILE, MemoryCurve, ModuleTime, OperatorTime, Phase, PhaseSpan, Profile, slug
from synthetic_run import Plan, conditions

STEPS = 3
# Seconds by operator and phase, for full fine-tuning and for any other strategy; None: it does not run there.
OPERATORS: dict[tuple[str, Phase], tuple[float, float | None]] = {
    ("aten::addmm", "forward"): (0.030, 0.031),
    ("aten::mm", "backward"): (0.060, 0.030),
    ("aten::fill_", "backward"): (0.005, None),
    ("aten::_fused_adamw_", "optimizer"): (0.004, 0.001),
}


def made(strategy: str, *, clock: str = "cpu", memory: bool = True, noise: float = 0.0, **changes: object) -> Profile:
    """A profile of one strategy; `noise` spreads its three steps by that share of their time."""
    place = 0 if strategy == "full" else 1
    found = {key: seconds[place] for key, seconds in OPERATORS.items()}

    def steps(seconds: float) -> list[float]:
        return [seconds * (1 - noise), seconds * (1 + noise), seconds]

    device = None if clock == "cpu" else 0.5
    operators = [
        OperatorTime(
            name=name,
            phase=phase,
            calls=[2] * STEPS,
            cpu_seconds=steps(seconds),
            device_seconds=None if device is None else steps(device * seconds),
        )
        for (name, phase), seconds in found.items()
        if seconds is not None
    ]
    phases: dict[Phase, float] = {}
    for (_, phase), seconds in found.items():
        phases[phase] = phases.get(phase, 0.0) + (seconds or 0.0)
    modules = [
        ModuleTime(
            name=f"encoder.layer.{layer}.output.dense",
            phase="backward",
            cpu_seconds=steps((found["aten::mm", "backward"] or 0.0) / 2),
            device_seconds=None if device is None else steps(0.01),
        )
        for layer in range(2)
    ]
    fields: dict[str, object] = {
        "cell": CostCell(model="minilm", strategy=strategy, batch_size=8, length=64, pooling="mean"),
        "started_utc": f"2025-11-24T08:00:0{place}.000+00:00",
        "conditions": conditions(Plan(), None),
        "descriptions": {"strategy": f"Trains what {strategy} trains.", "model": "MiniLM, 6 layers."},
        "steps": STEPS,
        "clock": clock,
        "step_seconds": steps(sum(phases.values())),
        "phase_seconds": {phase: steps(seconds) for phase, seconds in phases.items()},
        "operators": operators,
        "modules": modules,
        "memory": curve(place) if memory else None,
        "memory_reason": None if memory else "not recorded; ask for it with --memory",
        "trace": "bitfit-bench_1.1.pt.trace.json.gz",
        "trace_bytes": 411_000,
        "stacks": False,
    }
    return Profile.model_validate(fields | changes)


def curve(place: int) -> MemoryCurve:
    """Memory that rises to its peak at the end of the forward pass and falls again."""
    peak = (300 if place == 0 else 150) * 2**20
    spans: tuple[tuple[Phase, float, float], ...] = (("forward", 0.0, 0.03), ("backward", 0.03, 0.09))
    return MemoryCurve(
        method="live tensors",
        start_bytes=100 * 2**20,
        peak_bytes=peak,
        peak_seconds=0.029,
        seconds=[0.0, 0.029, 0.08],
        live_bytes=[100 * 2**20, peak, 101 * 2**20],
        phases=[PhaseSpan(phase=phase, begin_seconds=begin, end_seconds=end) for phase, begin, end in spans],
    )


def save(folder: Path, *profiles: Profile) -> Path:
    """Write profiles into the folders that `profile` would; returns `folder`."""
    for profile in profiles:
        path = folder / slug(profile.cell.strategy) / PROFILE
        path.parent.mkdir(parents=True)
        path.write_text(profile.model_dump_json(), encoding="utf-8")
    return folder
