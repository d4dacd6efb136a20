-- Hours from an alert to the first decision about it, by severity. For Postgres.
SELECT
  severity, count(*) AS alerts, count(decided_at) AS decided,
  round(avg(hours), 1) AS average_hours,
  round(percentile_cont(0.5) WITHIN GROUP (ORDER BY hours)::numeric, 1) AS median_hours,
  round(max(hours), 1) AS longest_hours
FROM (
  SELECT alerts.severity, decisions.decided_at, extract(epoch FROM decisions.decided_at - alerts.created_at) / 3600 AS hours
  FROM alerts
  LEFT JOIN (SELECT alert_id, min(at) AS decided_at FROM alert_actions GROUP BY alert_id) AS decisions
    ON decisions.alert_id = alerts.id
  WHERE alerts.status <> 'pending'
) AS times
GROUP BY severity
ORDER BY CASE severity WHEN 'CRITICAL' THEN 1 WHEN 'HIGH' THEN 2 WHEN 'MEDIUM' THEN 3 WHEN 'LOW' THEN 4 ELSE 5 END;
