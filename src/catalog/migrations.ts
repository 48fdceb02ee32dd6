import { type Kysely, type Migration, sql } from 'kysely';

/** Forward only. A migration that has landed is never changed; the version before must still run on the newest one. */
export const migrations: Record<string, Migration> = {
  '0001-regions': { up: regions },
  '0002-optimizing': { up: optimizing },
  '0003-jobs': { up: jobs },
  '0004-operating': { up: operating },
  '0005-task-group-places': { up: taskGroupPlaces },
  '0006-worker-builds': { up: workerBuilds },
  '0007-group-keepers': { up: groupKeepers },
  '0008-wanted-optimizing': { up: wantedOptimizing },
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

async function optimizing(db: Kysely<unknown>): Promise<void> {
  await sql`
    CREATE TABLE optimizer_group (
      name text PRIMARY KEY,
      container text NOT NULL,
      -- Handed to every optimizer of the group.
      properties jsonb NOT NULL DEFAULT '{}',
      -- What an operator set of GroupSettings (src/rules/keeping.ts); the rest has its defaults.
      settings jsonb NOT NULL DEFAULT '{}',
      created_by text NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now()
    );

    -- The place of an optimizer. epoch is the number of its launch, raised by compare-and-set; ids are never used again.
    CREATE TABLE optimizer_resource (
      resource_id text PRIMARY KEY,
      group_name text NOT NULL REFERENCES optimizer_group,
      container text NOT NULL,
      node_id text REFERENCES node,
      state text NOT NULL CHECK (state IN ('REQUESTED', 'STARTED', 'RELEASING')),
      epoch bigint NOT NULL CHECK (epoch > 0),
      attempt int NOT NULL DEFAULT 1 CHECK (attempt > 0),
      threads int NOT NULL CHECK (threads > 0),
      memory_mb int NOT NULL CHECK (memory_mb > 0),
      properties jsonb NOT NULL DEFAULT '{}',
      process_id text,
      last_error text,
      -- The last launch whose optimizer registered; 0: none ever did.
      registered_launch bigint NOT NULL DEFAULT 0,
      created_by text NOT NULL,
      start_time timestamptz NOT NULL DEFAULT now(),
      state_since timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX optimizer_resource_group ON optimizer_resource (group_name);

    -- An optimizer that registered; the row goes when its heartbeats stay away.
    CREATE TABLE optimizer (
      token uuid PRIMARY KEY DEFAULT gen_random_uuid(),
      resource_id text NOT NULL UNIQUE REFERENCES optimizer_resource ON DELETE CASCADE,
      group_name text NOT NULL,
      launch bigint NOT NULL,
      threads int NOT NULL,
      memory_mb int NOT NULL,
      node_id text,
      registered_at timestamptz NOT NULL DEFAULT now(),
      last_touch timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX optimizer_group_name ON optimizer (group_name);

    CREATE TABLE data_table (
      table_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
      name text NOT NULL UNIQUE,
      group_name text NOT NULL REFERENCES optimizer_group,
      -- Absolute path of its directory.
      location text NOT NULL,
      -- [{name, type}], fixed by the creation or by the first file.
      columns jsonb,
      status text NOT NULL DEFAULT 'IDLE' CHECK (status IN ('IDLE', 'PENDING', 'PLANNING', 'MINOR_OPTIMIZING',
        'MAJOR_OPTIMIZING', 'FULL_OPTIMIZING', 'COMMITTING')),
      status_since timestamptz NOT NULL DEFAULT now(),
      -- 0: no snapshot yet.
      snapshot_id bigint NOT NULL DEFAULT 0,
      -- Counts of the current snapshot, so that planning reads no snapshot of a table that needs nothing.
      files int NOT NULL DEFAULT 0,
      small_files int NOT NULL DEFAULT 0,
      undersized_files int NOT NULL DEFAULT 0,
      rows bigint NOT NULL DEFAULT 0,
      bytes bigint NOT NULL DEFAULT 0,
      created_by text NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX data_table_small_files ON data_table (small_files) WHERE status IN ('IDLE', 'PENDING');
    CREATE INDEX data_table_undersized_files ON data_table (undersized_files) WHERE status IN ('IDLE', 'PENDING');
    CREATE INDEX data_table_busy ON data_table (status_since) WHERE status NOT IN ('IDLE', 'PENDING');
    CREATE INDEX data_table_committing ON data_table (status_since) WHERE status = 'COMMITTING';

    CREATE TABLE optimizing_process (
      process_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
      table_id bigint NOT NULL REFERENCES data_table ON DELETE CASCADE,
      kind text NOT NULL CHECK (kind IN ('MINOR', 'MAJOR', 'FULL')),
      state text NOT NULL CHECK (state IN ('RUNNING', 'SUCCESS', 'FAILED', 'CLOSED')),
      base_snapshot bigint NOT NULL,
      tasks int NOT NULL,
      actor text NOT NULL,
      -- How often beginCommitting happened: never more than once.
      committing_since timestamptz,
      reason text,
      started_at timestamptz NOT NULL DEFAULT now(),
      ended_at timestamptz
    );
    -- One active process per table.
    CREATE UNIQUE INDEX optimizing_process_running ON optimizing_process (table_id) WHERE state = 'RUNNING';
    CREATE INDEX optimizing_process_table ON optimizing_process (table_id, process_id);

    CREATE TABLE optimizing_task (
      process_id bigint NOT NULL REFERENCES optimizing_process ON DELETE CASCADE,
      task_no int NOT NULL,
      group_name text NOT NULL,
      state text NOT NULL CHECK (state IN ('PLANNED', 'SCHEDULED', 'ACKED', 'SUCCESS', 'FAILED', 'CANCELED')),
      attempt int NOT NULL DEFAULT 1 CHECK (attempt > 0),
      failures int NOT NULL DEFAULT 0,
      -- Its turn within the group: tasks of several processes take turns, whoever came first and however many it has.
      turn bigint NOT NULL DEFAULT 0,
      -- [{path, rows, bytes}]
      inputs jsonb NOT NULL,
      outputs jsonb,
      -- Who has it, also after the end.
      token uuid,
      resource_id text,
      node_id text,
      last_error text,
      -- Whether the transaction that counts the tasks of the process (T2) has seen this SUCCESS or FAILED.
      settled boolean NOT NULL DEFAULT true,
      state_since timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (process_id, task_no)
    );
    CREATE INDEX optimizing_task_planned ON optimizing_task (group_name, turn, process_id, task_no) WHERE state = 'PLANNED';
    CREATE INDEX optimizing_task_out ON optimizing_task (state, state_since) WHERE state IN ('SCHEDULED', 'ACKED');
    CREATE INDEX optimizing_task_unsettled ON optimizing_task (state_since) WHERE NOT settled;
    CREATE INDEX optimizing_task_resource ON optimizing_task (resource_id) WHERE state IN ('SCHEDULED', 'ACKED');

    -- The lineage of a table. The files are listed in the snapshot's own file below the table's location.
    CREATE TABLE snapshot (
      table_id bigint NOT NULL REFERENCES data_table ON DELETE CASCADE,
      snapshot_id bigint NOT NULL,
      -- Relative to the table's location.
      path text NOT NULL,
      -- The optimizing process, or the ingestion, that made it: asking again finds it here.
      process_id bigint,
      request text,
      -- SHA-256 of what was ingested: a request that is asked again with something else is refused.
      digest text,
      files int NOT NULL,
      rows bigint NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (table_id, snapshot_id)
    );
    CREATE UNIQUE INDEX snapshot_process ON snapshot (process_id) WHERE process_id IS NOT NULL;
    CREATE UNIQUE INDEX snapshot_request ON snapshot (table_id, request) WHERE request IS NOT NULL;

    -- The breaker of the heals: one row for each that ever opened.
    CREATE TABLE breaker (
      name text PRIMARY KEY,
      state text NOT NULL CHECK (state IN ('OPEN', 'ACKNOWLEDGED', 'CLOSED')),
      reason text NOT NULL,
      since timestamptz NOT NULL DEFAULT now(),
      acknowledged_by text
    );
  `.execute(db);
}

async function jobs(db: Kysely<unknown>): Promise<void> {
  await sql`
    -- Rows of a job belong to an owner: a purge touches those of the owner it was made for (I7).
    CREATE TABLE job (
      job_id text NOT NULL,
      owner uuid NOT NULL,
      state text NOT NULL CHECK (state IN ('CREATED', 'SCHEDULED', 'RUNNING', 'FINISHED', 'FAILING', 'FAILED',
        'CANCELING', 'CANCELED', 'DOING_SAVEPOINT', 'SAVEPOINT_DONE')),
      -- The job's epoch: every restart draws a new one.
      execution bigint NOT NULL CHECK (execution > 0),
      restarts int NOT NULL DEFAULT 0,
      spec jsonb NOT NULL,
      -- Owner of the savepoint that it started from.
      restored_from uuid,
      actor text NOT NULL,
      -- Why it is FAILING or FAILED; kept over a restart.
      reason text,
      created_at timestamptz NOT NULL DEFAULT now(),
      state_since timestamptz NOT NULL DEFAULT now(),
      ended_at timestamptz,
      -- When the tombstone may go.
      free_at timestamptz,
      PRIMARY KEY (job_id, owner)
    );
    -- One owner at a time of an id that is not over.
    CREATE UNIQUE INDEX job_running ON job (job_id) WHERE ended_at IS NULL;
    CREATE INDEX job_tombstone ON job (free_at) WHERE ended_at IS NOT NULL;
    CREATE INDEX job_newest ON job (created_at);

    -- When a job came to a state, and in which execution.
    CREATE TABLE job_state_time (
      job_id text NOT NULL,
      owner uuid NOT NULL,
      step int NOT NULL,
      state text NOT NULL,
      execution bigint NOT NULL,
      at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (job_id, owner, step),
      FOREIGN KEY (job_id, owner) REFERENCES job
    );

    CREATE TABLE pipeline (
      job_id text NOT NULL,
      owner uuid NOT NULL,
      pipeline int NOT NULL,
      state text NOT NULL CHECK (state IN ('CREATED', 'SCHEDULED', 'RUNNING', 'FINISHED', 'FAILING', 'FAILED',
        'CANCELING', 'CANCELED')),
      state_since timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (job_id, owner, pipeline),
      FOREIGN KEY (job_id, owner) REFERENCES job
    );

    -- As of the job's present execution.
    CREATE TABLE task_group (
      job_id text NOT NULL,
      owner uuid NOT NULL,
      pipeline int NOT NULL,
      task_group int NOT NULL,
      state text NOT NULL CHECK (state IN ('CREATED', 'DEPLOYING', 'RUNNING', 'FINISHED', 'FAILED', 'CANCELING',
        'CANCELED')),
      node_id text REFERENCES node,
      ledger_id uuid,
      -- Of its deployment, under the execution.
      attempt int NOT NULL DEFAULT 1 CHECK (attempt > 0),
      rows_in bigint NOT NULL DEFAULT 0,
      rows_out bigint NOT NULL DEFAULT 0,
      error text,
      state_since timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (job_id, owner, pipeline, task_group),
      FOREIGN KEY (job_id, owner, pipeline) REFERENCES pipeline
    );
    CREATE INDEX task_group_node ON task_group (node_id) WHERE state IN ('DEPLOYING', 'RUNNING', 'CANCELING');

    -- A committed checkpoint of a task group. It is in one row: it is there as a whole or not at all.
    CREATE TABLE checkpoint (
      job_id text NOT NULL,
      owner uuid NOT NULL,
      pipeline int NOT NULL,
      task_group int NOT NULL,
      checkpoint_id bigint NOT NULL CHECK (checkpoint_id > 0),
      execution bigint NOT NULL,
      position bytea NOT NULL,
      -- [{staged, published, rows, bytes}]
      parts jsonb NOT NULL,
      rows_in bigint NOT NULL,
      rows_out bigint NOT NULL,
      last boolean NOT NULL,
      committed_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (job_id, owner, pipeline, task_group, checkpoint_id),
      FOREIGN KEY (job_id, owner, pipeline, task_group) REFERENCES task_group
    );

    -- Refers to no job: it outlives the purge.
    CREATE TABLE savepoint (
      job_id text NOT NULL,
      owner uuid NOT NULL,
      actor text NOT NULL,
      -- [{pipeline, taskGroup, checkpointId, execution, position, parts, rowsIn, rowsOut}]
      checkpoints jsonb NOT NULL,
      -- [{pipeline, taskGroup}]: what a job that restores from it must consist of.
      locations jsonb NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (job_id, owner)
    );

    -- A cancel that a node has not confirmed yet. Refers to no job: a node that was away is told when it returns.
    CREATE TABLE owed_cancel (
      node_id text NOT NULL REFERENCES node,
      ledger_id uuid NOT NULL,
      job_id text NOT NULL,
      owner uuid NOT NULL,
      pipeline int NOT NULL,
      task_group int NOT NULL,
      execution bigint NOT NULL,
      -- Drawn for the cancel, so that a deployment of the execution that is still under way is fenced off by it.
      epoch bigint NOT NULL,
      attempt int NOT NULL DEFAULT 1 CHECK (attempt > 0),
      savepoint boolean NOT NULL DEFAULT false,
      -- The job does not wait for it any more.
      given_up boolean NOT NULL DEFAULT false,
      not_before timestamptz,
      last_error text,
      since timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (node_id, job_id, pipeline, task_group, execution)
    );
    CREATE INDEX owed_cancel_job ON owed_cancel (job_id);
  `.execute(db);
}

async function operating(db: Kysely<unknown>): Promise<void> {
  await sql`
    -- Coordinators and workers that run, each telling of itself every few seconds; a row goes when its process stops.
    CREATE TABLE control_process (
      process_id uuid PRIMARY KEY,
      kind text NOT NULL CHECK (kind IN ('coordinator', 'worker')),
      version text NOT NULL,
      host text NOT NULL,
      pid int NOT NULL,
      task_queue text NOT NULL,
      node_timeout_ms int NOT NULL,
      started_at timestamptz NOT NULL DEFAULT now(),
      last_seen timestamptz NOT NULL DEFAULT now()
    );

    -- Effects of a kind that a node may run at a time; null: any number. An empty node_id is for nodes without a row.
    CREATE TABLE node_limit (
      node_id text PRIMARY KEY,
      deletions int CHECK (deletions > 0),
      creations int CHECK (creations > 0),
      actor text NOT NULL,
      since timestamptz NOT NULL DEFAULT now()
    );

    -- Operations that submit nothing new until they are resumed. An empty operation_id is for all of them. A row stays after
    -- the resumption, so that time-outs leave out the time of the pause.
    CREATE TABLE operation_pause (
      operation_id text PRIMARY KEY,
      actor text NOT NULL,
      reason text NOT NULL,
      since timestamptz NOT NULL DEFAULT now(),
      resumed_by text,
      resumed_at timestamptz
    );
  `.execute(db);
}

async function taskGroupPlaces(db: Kysely<unknown>): Promise<void> {
  await sql`
    -- Task groups that the node runs at a time; null: any number.
    ALTER TABLE node ADD COLUMN max_task_groups int CHECK (max_task_groups > 0);
  `.execute(db);
}

async function workerBuilds(db: Kysely<unknown>): Promise<void> {
  await sql`
    -- Of a worker that Temporal gives work by its build; null: of any other process.
    ALTER TABLE control_process ADD COLUMN deployment text, ADD COLUMN build_id text;
  `.execute(db);
}

async function groupKeepers(db: Kysely<unknown>): Promise<void> {
  await sql`
    -- The keeper whose cycle looked at the group last; what another one decided before that is not requested any more.
    ALTER TABLE optimizer_group ADD COLUMN keeper text;
  `.execute(db);
}

async function wantedOptimizing(db: Kysely<unknown>): Promise<void> {
  await sql`
    -- What somebody asked for by the table's name and that is not planned yet; null: nothing but what the thresholds call for.
    ALTER TABLE data_table ADD COLUMN wanted_kind text CHECK (wanted_kind IN ('MINOR', 'MAJOR', 'FULL'));
    CREATE INDEX data_table_wanted ON data_table (name) WHERE wanted_kind IS NOT NULL;
  `.execute(db);
}
