-- Freshness
-- One row per source: up to when everything is here, what the latest run says about it, and how far back it still lists.
SELECT source, data_through, complete, why_not, ended_at AS latest_run, oldest_listed, swept_through, messages_waiting
FROM freshness
ORDER BY source
