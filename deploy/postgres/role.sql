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
-- Whoever owned what they rest on would have nightshift_signals' rights: so they rest on pg_catalog alone, the schema must
-- be a superuser's (nightshift looks at that too before it calls them), and it ends here, with words, where somebody else
-- made the schema or a role before.
--
-- Without the functions `GRANT pg_signal_backend TO nightshift` does too: the same checks are then made by nightshift alone.

BEGIN;

DO $$
DECLARE
    somebody text;
BEGIN
    SELECT r.rolname INTO somebody FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
    WHERE n.nspname = 'nightshift' AND NOT r.rolsuper;
    IF FOUND THEN
        RAISE EXCEPTION 'schema nightshift belongs to %, who is no superuser and could put anything into it', somebody
            USING HINT = 'Look at what is in it and drop it, or ALTER SCHEMA nightshift OWNER TO a superuser.';
    END IF;
    -- A role that was there before: whoever may be nightshift_signals, or make others nightshift, could end sessions.
    SELECT m.rolname INTO somebody FROM pg_auth_members a
    JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
    WHERE NOT m.rolsuper AND (r.rolname = 'nightshift_signals' OR r.rolname = 'nightshift' AND a.admin_option);
    IF FOUND THEN
        RAISE EXCEPTION '%, who is no superuser, is a member of nightshift_signals or may give nightshift away', somebody
            USING HINT = 'REVOKE that, and look at who made the role.';
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'nightshift_signals' AND rolcanlogin) THEN
        RAISE EXCEPTION 'role nightshift_signals can log in' USING HINT = 'ALTER ROLE nightshift_signals NOLOGIN.';
    END IF;
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
-- The functions of an earlier version read it.
DROP VIEW IF EXISTS nightshift.touchable;

-- Each function looks anew, because what the caller's statement saw may be old by now, and each has the same last lines:
-- which sessions may be touched at all.

-- Ends one session that is idle, or idle in a transaction, since exactly then.
CREATE OR REPLACE FUNCTION nightshift.end_idle_session(session integer, began timestamptz, changed timestamptz)
RETURNS boolean LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_catalog.pg_stat_clear_snapshot();
    RETURN COALESCE((
        SELECT pg_catalog.pg_terminate_backend(a.pid)
        FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid
        WHERE a.pid = session AND a.backend_start = began AND a.state_change = changed
          AND (a.state = 'idle' AND a.xact_start IS NULL AND a.backend_xid IS NULL
               OR a.state IN ('idle in transaction', 'idle in transaction (aborted)'))
          AND a.backend_type = 'client backend' AND a.leader_pid IS NULL AND a.pid <> pg_catalog.pg_backend_pid()
          AND a.application_name IS DISTINCT FROM 'nightshift' AND NOT r.rolsuper AND NOT r.rolreplication
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s WHERE s.active_pid = a.pid)), false);
END
$$;

-- Cancels one query that began exactly then; its session lives on.
CREATE OR REPLACE FUNCTION nightshift.cancel_query(session integer, began timestamptz, query_began timestamptz)
RETURNS boolean LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_catalog.pg_stat_clear_snapshot();
    RETURN COALESCE((
        SELECT pg_catalog.pg_cancel_backend(a.pid)
        FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid
        WHERE a.pid = session AND a.backend_start = began AND a.query_start = query_began AND a.state = 'active'
          AND a.backend_type = 'client backend' AND a.leader_pid IS NULL AND a.pid <> pg_catalog.pg_backend_pid()
          AND a.application_name IS DISTINCT FROM 'nightshift' AND NOT r.rolsuper AND NOT r.rolreplication
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s WHERE s.active_pid = a.pid)), false);
END
$$;

-- Ends one query that began exactly then, with its session: for one that does not heed being cancelled. Without this
-- function `terminate: true` needs pg_signal_backend.
CREATE OR REPLACE FUNCTION nightshift.end_query(session integer, began timestamptz, query_began timestamptz)
RETURNS boolean LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_catalog.pg_stat_clear_snapshot();
    RETURN COALESCE((
        SELECT pg_catalog.pg_terminate_backend(a.pid)
        FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid
        WHERE a.pid = session AND a.backend_start = began AND a.query_start = query_began AND a.state = 'active'
          AND a.backend_type = 'client backend' AND a.leader_pid IS NULL AND a.pid <> pg_catalog.pg_backend_pid()
          AND a.application_name IS DISTINCT FROM 'nightshift' AND NOT r.rolsuper AND NOT r.rolreplication
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s WHERE s.active_pid = a.pid)), false);
END
$$;

ALTER FUNCTION nightshift.end_idle_session(integer, timestamptz, timestamptz) OWNER TO nightshift_signals;
ALTER FUNCTION nightshift.cancel_query(integer, timestamptz, timestamptz) OWNER TO nightshift_signals;
ALTER FUNCTION nightshift.end_query(integer, timestamptz, timestamptz) OWNER TO nightshift_signals;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA nightshift FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA nightshift TO nightshift;

COMMIT;
