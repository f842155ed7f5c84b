"""Memory over one step of each strategy, drawn into one figure."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from bench.profiles import Profile
from reports.drawing import canvas, name_axes, note_ends
from reports.palette import style
from reports.parts import Picture
from reports.profile_comparison import name

MIB = 2**20
CAPTION = (
    "Every allocation and release of one step. Dotted lines: where the backward pass begins. What piles up before "
    "them is what the backward pass needs."
)


def memory_picture(profiles: Sequence[Profile]) -> Picture | None:
    """Memory against time; None where no profile recorded memory."""
    shown = [profile for profile in profiles if profile.memory is not None]
    return Picture("memory", "Memory over one step", CAPTION, memory(shown)) if shown else None


def memory(profiles: Sequence[Profile]) -> Figure:
    """A line a strategy: MiB held against ms since its step began."""
    figure, axes = canvas()
    name_axes(axes, "ms since the step began", "MiB held")
    ends = []
    for profile in profiles:
        curve, look = profile.memory, style(profile.cell.strategy)
        if curve is None:
            continue
        times = [1000 * seconds for seconds in curve.seconds]
        held = [number / MIB for number in curve.live_bytes]
        axes.plot(times, held, color=look.colour, linewidth=1.4, zorder=3)
        backward = next((span.begin_seconds for span in curve.phases if span.phase == "backward"), None)
        if backward is not None:
            axes.axvline(1000 * backward, color=look.colour, linewidth=1.0, linestyle=":", zorder=2)
        ends.append((times[-1], held[-1], name(profile), look.colour))
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    note_ends(axes, ends)
    return figure
