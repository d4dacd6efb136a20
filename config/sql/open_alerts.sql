-- Alerts that nobody has closed, the worst first.
SELECT id, severity, status, actor_alternate_id, client_ip, country, anonymizer, operator, successes, failures, last_event_at, title
FROM open_alerts
ORDER BY
  CASE severity WHEN 'CRITICAL' THEN 1 WHEN 'HIGH' THEN 2 WHEN 'MEDIUM' THEN 3 WHEN 'LOW' THEN 4 ELSE 5 END,
  last_event_at DESC;
