-- The first sign-in of each person through an anonymizer, the latest first.
-- sign_in_since is the first known sign-in: if it is earlier, the anonymizer was new for the person.
SELECT
  org, max(actor_alternate_id) AS login, min(anonymizer_at) AS anonymizer_since, min(first_at) AS sign_in_since,
  count(DISTINCT client_ip) AS addresses
FROM sightings
WHERE actor_id <> ''
GROUP BY org, actor_id
HAVING min(anonymizer_at) IS NOT NULL
ORDER BY anonymizer_since DESC
LIMIT 200;
