"""How Sphinx builds the site (`make docs`); every warning is an error there."""

from importlib import metadata

project = "oktawatch"
release = metadata.version("oktawatch")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.intersphinx"]
html_theme = "furo"
html_title = f"oktawatch {release}"
exclude_patterns = ["reference.py"]
suppress_warnings = ["misc.highlighting_failure"]  # a block of SQL in docs/postgres.md has psql's \connect
myst_heading_anchors = 4
# The reference shows what authors of rules and channels import, each thing once and in the order of its source.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
