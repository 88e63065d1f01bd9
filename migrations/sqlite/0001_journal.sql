-- Times are microseconds UTC. INTEGER, not BIGINT: STRICT tables refuse it, and only INTEGER PRIMARY KEY is the row's own key.
CREATE TABLE journal (
    seq      INTEGER PRIMARY KEY,       -- last + 1, set by the writer; a clash means that somebody else leads
    at       INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    incident INTEGER,
    cause    TEXT    NOT NULL,
    body     TEXT    NOT NULL,          -- never JSON typed: its bytes are hashed
    hash     BLOB    NOT NULL
) STRICT;
CREATE INDEX journal_incident ON journal (incident, seq) WHERE incident IS NOT NULL;

CREATE TABLE policy (
    hash BLOB PRIMARY KEY,
    text TEXT NOT NULL
) STRICT;

CREATE TABLE snapshot (
    seq     INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    hash    BLOB    NOT NULL,           -- of the journal entry with this seq: the anchor once older entries are gone
    state   BLOB    NOT NULL,
    digest  BLOB    NOT NULL
) STRICT;

-- AUTOINCREMENT: an id that was read and removed never comes back for another delivery.
CREATE TABLE inbox (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    at   INTEGER NOT NULL,
    body TEXT    NOT NULL
) STRICT;

CREATE TABLE leader (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    holder TEXT    NOT NULL,
    epoch  INTEGER NOT NULL,
    until  INTEGER NOT NULL
) STRICT;

CREATE TABLE evidence (
    digest BLOB PRIMARY KEY,
    body   BLOB    NOT NULL,
    until  INTEGER NOT NULL
) STRICT;
CREATE INDEX evidence_until ON evidence (until);
