"""Trusted TLS certificates."""

import ssl
from pathlib import Path


def load_ca_file(ca_file: Path) -> ssl.SSLContext:
    """Return a TLS context that trusts the system's CAs and the CAs in a PEM file.

    Raises ValueError with a description of what is expected.
    """
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError:
        problem = f"expected certificates in PEM in {ca_file}"
    except OSError as error:
        problem = f"expected a readable file at {ca_file}: {error.strerror}"
    else:
        return context
    raise ValueError(problem)
