"""The work of the use cases: read a page, decide, commit it, deliver. `service/` decides when."""
