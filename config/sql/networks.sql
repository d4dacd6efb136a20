-- Networks with the most alerts. got_in counts alerts with a successful sign-in.
SELECT
  as_number, max(as_org) AS as_org, count(*) AS alerts, count(DISTINCT actor_id) AS people,
  sum(CASE WHEN successes > 0 THEN 1 ELSE 0 END) AS got_in, max(last_event_at) AS last_event_at
FROM alerts
WHERE status <> 'pending' AND as_number IS NOT NULL
GROUP BY as_number
ORDER BY alerts DESC
LIMIT 100;
