"""Install a third-party package in the layout of pip."""

from pathlib import Path


def install(folder: Path, module: str, code: str, **entry_points: str) -> None:
    """Write a module and its metadata. Each entry point is a line ``name = value`` of a group."""
    (folder / f"{module}.py").write_text(code, "utf-8")
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", "utf-8")
    groups = "\n".join(f"[{group}]\n{line}" for group, line in entry_points.items())
    (metadata / "entry_points.txt").write_text(groups, "utf-8")
