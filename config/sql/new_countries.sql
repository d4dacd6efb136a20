-- Countries from which a person signed in for the first time after having signed in elsewhere, the latest first.
SELECT countries.org, countries.login, countries.country, countries.since, countries.successes, countries.failures
FROM (
  SELECT
    org, actor_id, country, max(actor_alternate_id) AS login, min(first_at) AS since, sum(successes) AS successes,
    sum(failures) AS failures
  FROM sightings
  WHERE actor_id <> '' AND country IS NOT NULL
  GROUP BY org, actor_id, country
) AS countries
JOIN (
  SELECT org, actor_id, min(first_at) AS since FROM sightings GROUP BY org, actor_id
) AS people ON people.org = countries.org AND people.actor_id = countries.actor_id
WHERE countries.since > people.since
ORDER BY countries.since DESC
LIMIT 200;
