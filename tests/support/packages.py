"""Install a package of somebody else's, as pip would lay it down."""

from pathlib import Path


def install(folder: Path, module: str, code: str, **entry_points: str) -> None:
    """Write a module and its metadata; each entry point is a group's ``name = value`` line."""
    (folder / f"{module}.py").write_text(code, "utf-8")
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", "utf-8")
    groups = "\n".join(f"[{group}]\n{line}" for group, line in entry_points.items())
    (metadata / "entry_points.txt").write_text(groups, "utf-8")
