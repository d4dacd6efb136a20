"""Reports about alerts: the summary (`summary`), and a page with charts (`page`, `charts`).

Pure functions. `store/report.py` reads the facts that a summary counts, and the command line prints the summary.
"""
