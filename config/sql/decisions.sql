-- What people decided about alerts, the latest first.
SELECT alert_actions.at, alert_actions.by, alert_actions.action, alert_actions.disposition, alert_actions.note,
  alerts.id AS alert_id, alerts.severity, alerts.actor_alternate_id, alerts.title
FROM alert_actions
JOIN alerts ON alerts.id = alert_actions.alert_id
ORDER BY alert_actions.at DESC
LIMIT 200;
