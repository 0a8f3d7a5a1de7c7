-- A ledger as schema 1 wrote it (2026-11): nine events, one measure in force. Not to be edited: it stands for what is out there.
PRAGMA application_id = 1698909269;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE companies (
    company TEXT PRIMARY KEY,
    seq     INTEGER NOT NULL,
    dirty   INTEGER NOT NULL,
    held    INTEGER NOT NULL DEFAULT 0,
    next_at REAL,
    basis   TEXT,
    record  TEXT NOT NULL
) STRICT;
INSERT INTO "companies" VALUES('za',7,0,1,1772500000.5,'b1','{"invoice.issued":{"F-1":{"1483970f4b055a23":{"at":"2026-03-02T09:03:00.000000Z","body":{"amount":"1200.50","currency":"EUR","due_on":"2026-02-01","invoice":"F-1"},"id":"erp:3","source":"erp"}}},"measure.applied":{"za:N1/1":{"06bc7d8211d4422b":{"at":"2026-03-02T09:07:00.000000Z","body":{"case":"za:N1","elements":2,"order":"za:N1/1","services":["backup"],"times":{}},"id":"agent:7","source":"agent"}}},"order.suspend":{"za:N1/1":{"b740539a522192eb":{"at":"2026-03-02T09:06:00.000000Z","body":{"case":"za:N1","expires_at":"2026-06-01T00:00:00.000000Z","lease_minutes":60,"mode":"approve","order":"za:N1/1","policy_digest":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","services":["backup"]},"id":"agent:6","source":"agent"}}},"payment.received":{"P-1":{"c3da1cdeafbdf0ed":{"at":"2026-03-02T09:04:00.000000Z","body":{"amount":"10.00","currency":"EUR","payment":"P-1"},"id":"bank:4","source":"bank"}}}}');
INSERT INTO "companies" VALUES('zb',5,1,0,NULL,NULL,'{"payment.received":{"P-2":{"a5593344d36beddb":{"at":"2026-03-02T09:05:00.000000Z","body":{"amount":"99.90","currency":"EUR","payment":"P-2","reference":"Été   à l''échéance"},"id":"bank:5","source":"bank"}}}}');
INSERT INTO "companies" VALUES('-',9,0,0,NULL,NULL,'{"heartbeat":{"erp":{"f0b24a76e5a903fc":{"at":"2026-03-02T09:08:00.000000Z","body":{"open_invoices":4},"id":"erp:8","source":"erp"}}},"standing_approval.given":{"operator:claire:9":{"b654f979c3c4c700":{"at":"2026-03-02T09:09:00.000000Z","body":{"by":"claire","expires_at":"2026-12-31T00:00:00.000000Z","policy":"standard","policy_digest":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","reason":"yearly","role":"approver"},"id":"operator:claire:9","source":"operator:claire"}}}}');
CREATE TABLE events (
    seq         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    type        TEXT NOT NULL,
    subject     TEXT NOT NULL,
    occurred_at TEXT NOT NULL,
    received_at TEXT NOT NULL,
    source      TEXT NOT NULL,
    body        TEXT NOT NULL,
    hash        BLOB NOT NULL
) STRICT;
INSERT INTO "events" VALUES(1,'agent:1','agent.started','-','2026-03-02T09:01:00.000000Z','2026-03-02T09:01:01.000000Z','agent','{"kernel":"nft","version":"0.1.0"}',X'3146CB6BBB039F2A800F6FB41E446DB7863E590C8EE07DB709952934A4CB013D');
INSERT INTO "events" VALUES(2,'agent:2','policy.loaded','-','2026-03-02T09:02:00.000000Z','2026-03-02T09:02:01.000000Z','agent','{"counts":{"services":3},"digest":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"}',X'143E1788309914297AFC340D7CFAAE7B5A0ADEEBA8826931BAE5AD9D6DC9F1D6');
INSERT INTO "events" VALUES(3,'erp:3','invoice.issued','za','2026-03-02T09:03:00.000000Z','2026-03-02T09:03:01.000000Z','erp','{"amount":"1200.50","currency":"EUR","due_on":"2026-02-01","invoice":"F-1"}',X'23EDF20AD95C20ACAC050CB51F4E007A08EF2A23B997A506410D45A9B46F2EB2');
INSERT INTO "events" VALUES(4,'bank:4','payment.received','za','2026-03-02T09:04:00.000000Z','2026-03-02T09:04:01.000000Z','bank','{"amount":"10.00","currency":"EUR","payment":"P-1"}',X'BAB018F8A40A44820FA1786B21E3646C036817CB17372EE2D45663E73647B3CD');
INSERT INTO "events" VALUES(5,'bank:5','payment.received','zb','2026-03-02T09:05:00.000000Z','2026-03-02T09:05:01.000000Z','bank','{"amount":"99.90","currency":"EUR","payment":"P-2","reference":"Été   à l''échéance"}',X'0BB8B56AE76FC431E2B7DC269EAC9D11BFFA279A20A44F266AFCDF4D01BC8345');
INSERT INTO "events" VALUES(6,'agent:6','order.suspend','za','2026-03-02T09:06:00.000000Z','2026-03-02T09:06:01.000000Z','agent','{"case":"za:N1","expires_at":"2026-06-01T00:00:00.000000Z","gate":[{"check":"G-01","verdict":"pass"}],"lease_minutes":60,"mode":"approve","order":"za:N1/1","policy_digest":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","services":["backup"]}',X'894FAB4C4CF413542B73BF052FC8F1BE8545085E88EF4CF7D357DD41819D07CF');
INSERT INTO "events" VALUES(7,'agent:7','measure.applied','za','2026-03-02T09:07:00.000000Z','2026-03-02T09:07:01.000000Z','agent','{"case":"za:N1","elements":2,"order":"za:N1/1","services":["backup"],"times":{}}',X'626AA72C032368B451CA1EB6FCFE2AFCB2F97586184E44437C5432EE9CF183DB');
INSERT INTO "events" VALUES(8,'erp:8','heartbeat','-','2026-03-02T09:08:00.000000Z','2026-03-02T09:08:01.000000Z','erp','{"open_invoices":4}',X'69E6B4418E2B1D68E7EDBB6F4C7D7C4D085EB46AD50A597CF2BB0621B8E2789A');
INSERT INTO "events" VALUES(9,'operator:claire:9','standing_approval.given','-','2026-03-02T09:09:00.000000Z','2026-03-02T09:09:01.000000Z','operator:claire','{"by":"claire","expires_at":"2026-12-31T00:00:00.000000Z","policy":"standard","policy_digest":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","reason":"yearly","role":"approver"}',X'AA15DC31E31B2E0732301D132D71A4A8CE86EEE00C878485DD30B0D9C680B4BB');
CREATE TABLE measures (
    company     TEXT NOT NULL,
    case_id     TEXT NOT NULL,
    order_id    TEXT NOT NULL,
    services    TEXT NOT NULL,
    lease_until REAL NOT NULL,
    PRIMARY KEY (company, case_id)
) STRICT, WITHOUT ROWID;
INSERT INTO "measures" VALUES('za','za:N1','za:N1/1','["backup"]',1772445000.0);
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "meta" VALUES('companies',2);
INSERT INTO "meta" VALUES('measures',1);
INSERT INTO "meta" VALUES('probe',0);
CREATE INDEX events_subject ON events (subject);
CREATE INDEX events_orders ON events (occurred_at) WHERE type = 'order.suspend';
CREATE INDEX events_proposals ON events (occurred_at) WHERE type = 'case.proposed';
CREATE TRIGGER events_never_change BEFORE UPDATE ON events
    BEGIN SELECT raise(ABORT, 'events are never changed'); END;
CREATE TRIGGER events_never_go BEFORE DELETE ON events
    BEGIN SELECT raise(ABORT, 'events are never deleted'); END;
CREATE TRIGGER events_in_order BEFORE INSERT ON events
    WHEN new.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM events)
    BEGIN SELECT raise(ABORT, 'events are appended at the end only'); END;
CREATE INDEX companies_dirty ON companies (held, company) WHERE dirty = 1;
CREATE INDEX companies_next ON companies (held, next_at, company) WHERE next_at IS NOT NULL;
CREATE INDEX companies_standing ON companies (company, dirty, basis, next_at);
CREATE INDEX companies_basis ON companies (held, basis, company) WHERE basis IS NOT NULL;
CREATE TRIGGER companies_more AFTER INSERT ON companies WHEN new.company <> '-'
    BEGIN UPDATE meta SET value = value + 1 WHERE name = 'companies'; END;
CREATE TRIGGER companies_less AFTER DELETE ON companies WHEN old.company <> '-'
    BEGIN UPDATE meta SET value = value - 1 WHERE name = 'companies'; END;
CREATE TRIGGER measures_more AFTER INSERT ON measures
    BEGIN UPDATE meta SET value = value + 1 WHERE name = 'measures'; END;
CREATE TRIGGER measures_less AFTER DELETE ON measures
    BEGIN UPDATE meta SET value = value - 1 WHERE name = 'measures'; END;
COMMIT;
