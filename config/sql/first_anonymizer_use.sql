-- The first sign-in of each person through an anonymizer, the latest first.
-- If sign_in_since (the first known sign-in) is earlier, the person first signed in without an anonymizer.
SELECT
  org, max(actor_alternate_id) AS login, min(anonymizer_at) AS anonymizer_since, min(first_at) AS sign_in_since,
  count(DISTINCT client_ip) AS addresses
FROM sightings
WHERE actor_id <> ''
GROUP BY org, actor_id
HAVING min(anonymizer_at) IS NOT NULL
ORDER BY anonymizer_since DESC
LIMIT 200;
