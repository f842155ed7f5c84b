"""The profile page: one HTML file with everything in it, which shows the profiles of a folder side by side."""

from collections.abc import Sequence
from pathlib import Path

from bench.profiles import Profile, read, slug
from reports import formats
from reports.files import write_atomic
from reports.page import environment
from reports.profile_comparison import name, sentences
from reports.profile_figures import memory_picture
from reports.profile_tables import (
    conditions_table,
    difference_table,
    memory_table,
    modules_table,
    phases_table,
    top_table,
    traces_table,
)

PAGE = "profile.html"


def write(folder: Path) -> Path:
    """Render the page of a folder of profiles into it and return its path.

    Raises InputError where `folder` holds no profile or cannot be written.
    """
    write_atomic(folder / PAGE, html(read(folder)).encode())
    return folder / PAGE


def html(profiles: Sequence[Profile]) -> str:
    """The page as text, the first profile being the one others are compared with: no script, no request."""
    picture = memory_picture(profiles)
    return (
        environment()
        .get_template("profile.html")
        .render(
            title="Profile: " + ", ".join(map(name, profiles)),
            facts=_facts(profiles),
            sentences=sentences(profiles),
            phases=phases_table(profiles),
            differences=difference_table(profiles),
            operators=top_table(profiles),
            modules=modules_table(profiles),
            memory=memory_table(profiles),
            pictures=[] if picture is None else [picture],
            memory_reason=profiles[0].memory_reason,
            traces=traces_table(profiles, [slug(profile.cell.strategy) for profile in profiles]),
            conditions=conditions_table(profiles),
            profiles=[(p.cell.strategy, name(p), p.descriptions.get("strategy", "")) for p in profiles],
            model=profiles[0].descriptions.get("model", ""),
            anchors={profile.cell.strategy: f"strategy-{place}" for place, profile in enumerate(profiles, start=1)},
        )
    )


def _facts(profiles: Sequence[Profile]) -> list[str]:
    """The one line of facts; what differs between the profiles is named once for each."""

    def each(values: Sequence[str]) -> str:
        return ", ".join(dict.fromkeys(values))

    return [
        each([profile.cell.model for profile in profiles]),
        each([f"batch {profile.cell.batch_size} x {profile.cell.length} tokens" for profile in profiles]),
        each([profile.cell.precision for profile in profiles]),
        each([f"{p.conditions.device_name} ({p.conditions.device})" for p in profiles]),
        each([formats.count(profile.conditions.threads, "thread") for profile in profiles]),
        each([formats.count(profile.steps, "recorded step") for profile in profiles]),
        profiles[0].started_utc[:16].replace("T", " ") + " UTC",
    ]
