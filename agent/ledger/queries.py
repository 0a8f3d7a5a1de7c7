"""Floor 2. What the ledger asks its file. `*` is the column order of the schema, which belongs to this room."""

INSERT = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?) ON CONFLICT (id) DO NOTHING"
EVENTS = "SELECT * FROM events WHERE seq > :after ORDER BY seq LIMIT :limit"
EVENTS_ABOUT = "SELECT * FROM events WHERE subject = :subject AND seq > :after ORDER BY seq LIMIT :limit"
ORDERS = "SELECT occurred_at FROM events WHERE type = 'order.suspend' AND occurred_at >= ? ORDER BY occurred_at"
RIPE = """
    SELECT json_extract(body, '$.case'), id, occurred_at FROM events WHERE type = 'case.proposed'
        AND occurred_at >= :since AND body IS NOT NULL
    UNION ALL
    SELECT json_extract(body, '$.case'), id, occurred_at FROM events WHERE type = 'order.suspend'
        AND occurred_at >= :since AND body IS NOT NULL
    ORDER BY occurred_at DESC LIMIT :limit
"""
MEASURES = "SELECT * FROM measures WHERE (company, case_id) > (:company, :case) ORDER BY company, case_id LIMIT :limit"
STANDING = """
    SELECT measures.* FROM measures CROSS JOIN companies USING (company)
    WHERE company > :after AND dirty = 0 AND basis = :basis AND (next_at IS NULL OR next_at > :now)
    ORDER BY company, case_id LIMIT :limit
"""
COMPANIES_IN_FORCE = "SELECT DISTINCT company FROM measures WHERE company > ? ORDER BY company LIMIT ?"
AT_REMOTE = "SELECT DISTINCT company FROM measures WHERE services LIKE '{%' AND json_extract(services, '$.extent') = 'remote'"
MEASURES_OF = "SELECT * FROM measures WHERE company = ? ORDER BY case_id"

# Each of these reads a range of one index; `!=` would read all of it, so a changed basis is asked for from both sides.
DUE = (
    "SELECT company FROM companies WHERE held = :held AND dirty = 1 LIMIT :limit",
    "SELECT company FROM companies WHERE held = :held AND next_at <= :now ORDER BY next_at LIMIT :limit",
    "SELECT company FROM companies WHERE held = :held AND basis < :basis LIMIT :limit",
    "SELECT company FROM companies WHERE held = :held AND basis > :basis LIMIT :limit",
)
