-- Alerts by day and severity, the latest day first.
-- An alert counts on the UTC day of its first event. got_in counts alerts with a successful sign-in.
SELECT
  day,
  sum(alerts) AS alerts,
  sum(CASE WHEN severity = 'CRITICAL' THEN alerts ELSE 0 END) AS critical,
  sum(CASE WHEN severity = 'HIGH' THEN alerts ELSE 0 END) AS high,
  sum(CASE WHEN severity = 'MEDIUM' THEN alerts ELSE 0 END) AS medium,
  sum(CASE WHEN severity = 'LOW' THEN alerts ELSE 0 END) AS low,
  sum(CASE WHEN severity = 'INFO' THEN alerts ELSE 0 END) AS info,
  sum(got_in) AS got_in
FROM daily_alerts
GROUP BY day
ORDER BY day DESC
LIMIT 90;
