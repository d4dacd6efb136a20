-- Alerts in which somebody failed first and then got in, the latest first.
SELECT id, succeeded_at, severity, status, actor_alternate_id, client_ip, country, failures, title
FROM alerts
WHERE risen AND status <> 'pending'
ORDER BY succeeded_at DESC
LIMIT 200;
