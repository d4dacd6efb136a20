-- People with three or more alerts of a rule, none a true positive: candidates for an allow entry or a tuned rule.
SELECT
  org, actor_alternate_id, rule_id, count(*) AS alerts, count(DISTINCT client_ip) AS addresses,
  sum(CASE WHEN disposition IN ('benign', 'false_positive') THEN 1 ELSE 0 END) AS harmless,
  max(operator) AS operator, max(last_event_at) AS last_event_at
FROM alerts
WHERE status <> 'pending'
GROUP BY org, actor_alternate_id, rule_id
HAVING count(*) >= 3 AND sum(CASE WHEN disposition = 'true_positive' THEN 1 ELSE 0 END) = 0
ORDER BY alerts DESC
LIMIT 100;
