-- Notifications that were not delivered: dead letters, and those that are being retried.
SELECT notifications.notifier, notifications.state, notifications.kind, notifications.attempts, notifications.last_error,
  notifications.created_at, notifications.next_attempt_at, notifications.id, alerts.id AS alert_id, alerts.title
FROM notifications
LEFT JOIN alerts ON alerts.id = notifications.alert_id
WHERE notifications.state = 'dead' OR (notifications.state = 'pending' AND notifications.attempts > 0)
ORDER BY notifications.created_at DESC
LIMIT 200;
