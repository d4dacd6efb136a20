-- Matches that allow entries kept out of alerts, by entry and rule.
SELECT org, entry, max(reason) AS reason, rule_id, count(*) AS matches, count(DISTINCT actor_alternate_id) AS people,
  count(DISTINCT client_ip) AS addresses, max(published) AS last_at
FROM allowed_matches
GROUP BY org, entry, rule_id
ORDER BY matches DESC;
