"""Alerts in the formats of other systems: pure functions from an alert to a JSON document.

The input is an alert as a JSON object: the columns of ``alerts``, and `url` (a link to its earliest event in Okta, or None),
``rule_name``, ``mitre`` (ATT&CK ids) and optionally ``events`` (rows of ``alert_events``). `alerts export` and the
channel ``file`` use these functions.
"""
