import { type Kysely, type Migration, sql } from 'kysely';

/** Forward only. A migration that has landed is never changed; the version before must still run on the newest one. */
export const migrations: Record<string, Migration> = {
  '0001-regions': { up: regions },
};

async function regions(db: Kysely<unknown>): Promise<void> {
  await sql`
    CREATE TABLE catalog (
      id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
      only_one boolean NOT NULL DEFAULT true UNIQUE CHECK (only_one),
      created_at timestamptz NOT NULL DEFAULT now()
    );
    INSERT INTO catalog DEFAULT VALUES;

    -- Every claim draws its epoch here while it holds the rows it claims, so that the epochs of a resource only grow
    -- and outlive the rows that they fence.
    CREATE SEQUENCE claim_epoch AS bigint;

    CREATE TABLE node (
      node_id text PRIMARY KEY,
      ledger_id uuid NOT NULL,
      boot_id uuid NOT NULL,
      incarnation bigint NOT NULL CHECK (incarnation > 0),
      address text NOT NULL,
      capabilities text[] NOT NULL,
      registered_at timestamptz NOT NULL DEFAULT now(),
      last_heartbeat timestamptz NOT NULL DEFAULT now()
    );

    CREATE TABLE holder (
      holder_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
      workflow_id text NOT NULL,
      first_run_id text NOT NULL,
      workflow_type text NOT NULL,
      actor text NOT NULL,
      since timestamptz NOT NULL DEFAULT now(),
      input jsonb NOT NULL,
      round text NOT NULL DEFAULT '',
      replicas int NOT NULL DEFAULT 0,
      superseded_by bigint REFERENCES holder ON DELETE SET NULL,
      outcome jsonb,
      ended_at timestamptz,
      UNIQUE (workflow_id, first_run_id)
    );
    CREATE INDEX holder_superseded_by ON holder (superseded_by) WHERE superseded_by IS NOT NULL;

    CREATE TABLE database (
      name text PRIMARY KEY,
      state text NOT NULL CHECK (state IN ('ACTIVE', 'DELETING')),
      created_by text NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now(),
      epoch bigint NOT NULL DEFAULT 0,
      holder_id bigint REFERENCES holder
    );

    CREATE TABLE allocation (
      database text NOT NULL REFERENCES database ON DELETE CASCADE,
      request text NOT NULL,
      kind text NOT NULL,
      groups int NOT NULL,
      replication_factor int NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (database, request)
    );

    CREATE TABLE region_group (
      group_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
      database text NOT NULL REFERENCES database,
      kind text NOT NULL CHECK (kind IN ('SCHEMA', 'DATA')),
      replication_factor int NOT NULL CHECK (replication_factor > 0),
      state text NOT NULL CHECK (state IN ('PROVISIONING', 'RUNNING', 'REMOVING')),
      request text NOT NULL,
      peers text[] NOT NULL,
      epoch bigint NOT NULL CHECK (epoch > 0),
      holder_id bigint REFERENCES holder,
      created_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX region_group_database ON region_group (database);
    CREATE INDEX region_group_holder ON region_group (holder_id) WHERE holder_id IS NOT NULL;

    CREATE TABLE replica (
      group_id bigint NOT NULL REFERENCES region_group,
      node_id text NOT NULL REFERENCES node,
      state text NOT NULL CHECK (state IN ('CREATING', 'RUNNING', 'FAILED', 'UNKNOWN', 'REMOVING')),
      attempt int NOT NULL DEFAULT 1 CHECK (attempt > 0),
      not_before timestamptz,
      last_error text,
      state_since timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (group_id, node_id)
    );
    CREATE INDEX replica_node ON replica (node_id, state);

    CREATE TABLE partition (
      database text NOT NULL REFERENCES database,
      kind text NOT NULL,
      slot int NOT NULL,
      group_id bigint NOT NULL REFERENCES region_group,
      PRIMARY KEY (database, kind, slot)
    );
    CREATE INDEX partition_group ON partition (group_id);

    CREATE TABLE forgotten_replica (
      group_id bigint NOT NULL,
      node_id text NOT NULL REFERENCES node,
      database text NOT NULL,
      kind text NOT NULL,
      ledger_id uuid NOT NULL,
      epoch bigint NOT NULL,
      actor text NOT NULL,
      since timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (group_id, node_id)
    );
    CREATE INDEX forgotten_replica_node ON forgotten_replica (node_id);

    -- Where a sweep found nodes and catalog to differ, and since when. node_id is empty for a region group that lacks
    -- replicas which no node is to have.
    CREATE TABLE sighting (
      node_id text NOT NULL,
      group_id bigint NOT NULL,
      kind text NOT NULL CHECK (kind IN ('LEAKED', 'MISSING')),
      first_seen timestamptz NOT NULL DEFAULT now(),
      repair_epoch bigint,
      attempt int NOT NULL DEFAULT 1,
      PRIMARY KEY (node_id, group_id)
    );
  `.execute(db);
}
