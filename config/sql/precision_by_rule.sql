-- How precise each rule is, from the verdicts of closed alerts.
-- precision_percent is the share of true positives among the alerts with a verdict, or NULL without verdicts.
SELECT
  org, rule_id,
  count(*) AS alerts,
  sum(CASE WHEN disposition = 'true_positive' THEN 1 ELSE 0 END) AS true_positive,
  sum(CASE WHEN disposition = 'benign' THEN 1 ELSE 0 END) AS benign,
  sum(CASE WHEN disposition = 'false_positive' THEN 1 ELSE 0 END) AS false_positive,
  100 * sum(CASE WHEN disposition = 'true_positive' THEN 1 ELSE 0 END) / nullif(count(disposition), 0) AS precision_percent
FROM alerts
WHERE status <> 'pending'
GROUP BY org, rule_id
ORDER BY alerts DESC;
