-- Times are microseconds UTC.
CREATE TABLE journal (
    seq      BIGINT PRIMARY KEY,        -- last + 1, set by the writer; a clash means that somebody else leads
    at       BIGINT NOT NULL,
    epoch    BIGINT NOT NULL,
    incident BIGINT,
    cause    TEXT   NOT NULL,
    body     TEXT   NOT NULL,           -- never JSONB: its bytes are hashed
    hash     BYTEA  NOT NULL
);
CREATE INDEX journal_incident ON journal (incident, seq) WHERE incident IS NOT NULL;

CREATE TABLE policy (
    hash BYTEA PRIMARY KEY,
    text TEXT NOT NULL
);

CREATE TABLE snapshot (
    seq     BIGINT PRIMARY KEY,
    version BIGINT NOT NULL,
    hash    BYTEA  NOT NULL,            -- of the journal entry with this seq: the anchor once older entries are gone
    state   BYTEA  NOT NULL,
    digest  BYTEA  NOT NULL
);

CREATE TABLE inbox (
    id   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at   BIGINT NOT NULL,
    body TEXT   NOT NULL
);

CREATE TABLE leader (
    one    BIGINT PRIMARY KEY CHECK (one = 1),
    holder TEXT   NOT NULL,
    epoch  BIGINT NOT NULL,
    until  BIGINT NOT NULL
);

CREATE TABLE evidence (
    digest BYTEA PRIMARY KEY,
    body   BYTEA  NOT NULL,
    until  BIGINT NOT NULL
);
CREATE INDEX evidence_until ON evidence (until);
