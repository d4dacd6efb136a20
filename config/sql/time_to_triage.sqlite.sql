-- Hours from an alert to the first decision about it, by severity. For SQLite.
SELECT
  severity, count(*) AS alerts, count(decided_at) AS decided,
  round(avg(hours), 1) AS average_hours, round(min(hours), 1) AS shortest_hours, round(max(hours), 1) AS longest_hours
FROM (
  SELECT alerts.severity, decisions.decided_at, 24 * (julianday(decisions.decided_at) - julianday(alerts.created_at)) AS hours
  FROM alerts
  LEFT JOIN (SELECT alert_id, min(at) AS decided_at FROM alert_actions GROUP BY alert_id) AS decisions
    ON decisions.alert_id = alerts.id
  WHERE alerts.status <> 'pending'
) AS times
GROUP BY severity
ORDER BY CASE severity WHEN 'CRITICAL' THEN 1 WHEN 'HIGH' THEN 2 WHEN 'MEDIUM' THEN 3 WHEN 'LOW' THEN 4 ELSE 5 END;
