-- The least role for postgres/kill_idle and postgres/cancel_slow, on PostgreSQL 14 and newer. It may be run again.
-- As a superuser, in the database that nightshift's url_file names:
--
--     psql -v ON_ERROR_STOP=1 -d DATABASE -f deploy/postgres/role.sql
--     psql -d DATABASE -c '\password nightshift'
--
-- The role sees who is connected and may end nothing by itself. What it may end is what the functions below let it, and
-- they check for themselves, whatever they are asked: never a superuser, never replication, never nightshift, never a
-- session that works (of the idle ones) or does something else (of the slow ones) than it was seen to do. They run as
-- nightshift_signals, which nobody can log in as and which is no superuser, so that PostgreSQL itself refuses the rest.
--
-- Without the functions `GRANT pg_signal_backend TO nightshift` does too: the same checks are then made by nightshift alone.

BEGIN;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'nightshift') THEN
        CREATE ROLE nightshift LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION INHERIT CONNECTION LIMIT 5;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'nightshift_signals') THEN
        CREATE ROLE nightshift_signals NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION INHERIT;
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO nightshift', current_database());
    -- Where it exists, so that a lost connection can be made again while the server is full.
    IF current_setting('server_version_num')::int >= 160000 THEN
        EXECUTE 'GRANT pg_use_reserved_connections TO nightshift';
    END IF;
END
$$;

GRANT pg_read_all_stats TO nightshift;
GRANT pg_read_all_stats, pg_signal_backend TO nightshift_signals;

CREATE SCHEMA IF NOT EXISTS nightshift;
REVOKE ALL ON SCHEMA nightshift FROM PUBLIC;
GRANT USAGE ON SCHEMA nightshift TO nightshift;
GRANT USAGE ON SCHEMA nightshift TO nightshift_signals;

-- The sessions that may be touched at all. Only the functions read it.
CREATE OR REPLACE VIEW nightshift.touchable AS
    SELECT a.pid, a.backend_start, a.state, a.state_change, a.query_start, a.xact_start, a.backend_xid
    FROM pg_catalog.pg_stat_activity a
    JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid
    WHERE a.backend_type = 'client backend'
      AND a.leader_pid IS NULL
      AND a.pid <> pg_catalog.pg_backend_pid()
      AND a.application_name IS DISTINCT FROM 'nightshift'
      AND NOT r.rolsuper
      AND NOT r.rolreplication
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s WHERE s.active_pid = a.pid);
ALTER VIEW nightshift.touchable OWNER TO nightshift_signals;
REVOKE ALL ON nightshift.touchable FROM PUBLIC;

-- Ends one session that is idle, or idle in a transaction, since exactly then.
CREATE OR REPLACE FUNCTION nightshift.end_idle_session(session integer, began timestamptz, changed timestamptz)
RETURNS boolean LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- What the caller's statement saw may be old by now.
    PERFORM pg_stat_clear_snapshot();
    RETURN COALESCE((
        SELECT pg_terminate_backend(t.pid) FROM nightshift.touchable t
        WHERE t.pid = session AND t.backend_start = began AND t.state_change = changed
          AND (t.state = 'idle' AND t.xact_start IS NULL AND t.backend_xid IS NULL
               OR t.state IN ('idle in transaction', 'idle in transaction (aborted)'))), false);
END
$$;

-- Cancels one query that began exactly then; its session lives on.
CREATE OR REPLACE FUNCTION nightshift.cancel_query(session integer, began timestamptz, query_began timestamptz)
RETURNS boolean LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_stat_clear_snapshot();
    RETURN COALESCE((
        SELECT pg_cancel_backend(t.pid) FROM nightshift.touchable t
        WHERE t.pid = session AND t.backend_start = began AND t.query_start = query_began AND t.state = 'active'), false);
END
$$;

-- Ends one query that began exactly then, with its session: for one that does not heed being cancelled. Without this
-- function `terminate: true` needs pg_signal_backend.
CREATE OR REPLACE FUNCTION nightshift.end_query(session integer, began timestamptz, query_began timestamptz)
RETURNS boolean LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_stat_clear_snapshot();
    RETURN COALESCE((
        SELECT pg_terminate_backend(t.pid) FROM nightshift.touchable t
        WHERE t.pid = session AND t.backend_start = began AND t.query_start = query_began AND t.state = 'active'), false);
END
$$;

ALTER FUNCTION nightshift.end_idle_session(integer, timestamptz, timestamptz) OWNER TO nightshift_signals;
ALTER FUNCTION nightshift.cancel_query(integer, timestamptz, timestamptz) OWNER TO nightshift_signals;
ALTER FUNCTION nightshift.end_query(integer, timestamptz, timestamptz) OWNER TO nightshift_signals;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA nightshift FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA nightshift TO nightshift;

COMMIT;
