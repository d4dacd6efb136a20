-- Who got in through an anonymizer, the latest first.
-- One row for each person and address. Corporate VPNs and privacy relays are left out.
SELECT org, actor_alternate_id, client_ip, country, anonymizer, operator, successes, failures, first_at, last_at
FROM sightings
WHERE anonymizer IS NOT NULL AND anonymizer NOT IN ('corporate_vpn', 'relay') AND successes > 0
ORDER BY last_at DESC
LIMIT 200;
