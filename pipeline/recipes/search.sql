-- Search in conversations
-- The newest turns, asked or answered, that hold some words, with what stands around them.
-- $words (such as refund): what to look for, in upper or lower case
-- $rows (20): how many turns
SELECT source, completion_id, created, position, direction, role,
    substr(content, greatest(instr(lower(content), lower($words)) - 60, 1), 160) AS around
FROM conversations
WHERE contains(lower(content), lower($words))
ORDER BY created DESC, completion_id, position
LIMIT $rows::BIGINT
