"""Replace a file atomically."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile


def replace_file(file: Path, content: bytes) -> None:
    """Replace a file's content atomically: after a crash, the file has either the old or the new content."""
    with NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as opened:
        temporary = Path(opened.name)
        try:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
            temporary.replace(file)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
