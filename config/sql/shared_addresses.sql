-- Addresses used by three or more people: offices, gateways, or somebody who tries many accounts.
-- Sign-ins without a known person are left out.
SELECT
  org, client_ip, max(as_number) AS as_number, max(country) AS country, max(anonymizer) AS anonymizer,
  count(*) AS people, sum(successes) AS successes, sum(failures) AS failures, max(last_at) AS last_at
FROM sightings
WHERE actor_id <> '' AND client_ip <> ''
GROUP BY org, client_ip
HAVING count(*) >= 3
ORDER BY people DESC, failures DESC
LIMIT 200;
