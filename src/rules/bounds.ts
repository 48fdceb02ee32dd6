/** Every bound that an input is held to, in one place. */
export const MAX_GROUPS_PER_REQUEST = 1_000;
export const MAX_GROUPS_PER_REMOVAL = 10_000;
/** Entries of a legacy queue in one operation: well below the 2 MiB of a payload. */
export const MAX_LEGACY_ENTRIES = 5_000;
export const MAX_REPLICATION_FACTOR = 9;
/** Operations in one Submit: a control plane speaks to a node once for many regions. */
export const SUBMIT_BATCH = 250;
/** Largest group id or epoch: what a JSON number carries exactly. */
export const MAX_ID = Number.MAX_SAFE_INTEGER;
/** Largest group id that the worker contract allows: 15 digits. */
export const MAX_GROUP_ID = 999_999_999_999_999;
/** Partition slots of a database, for each kind of region group. */
export const PARTITION_SLOTS = 64;

/** Of a catalog, or of the owner of a job. */
export const UUID = /^[0-9a-f-]{36}$/;
export const DATABASE_NAME = /^[a-z][a-z0-9_.-]{0,62}$/;
export const NODE_NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;
export const REQUEST_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
export const ACTOR_NAME = /^\P{Cc}{1,128}$/u;
/** A workflow id. */
export const OPERATION_ID = /^\P{Cc}{1,512}$/u;
/** Why something is paused. */
export const REASON = /^\P{Cc}{1,256}$/u;
/** Most effects of a kind that a limit lets a node run at a time. */
export const MAX_LIMIT = 1_000_000;
export const MAX_OPTIMIZER_THREADS = 64;
export const MIN_OPTIMIZER_MEMORY_MB = 64;
export const MAX_OPTIMIZER_MEMORY_MB = 1 << 20;
/** Sub-tasks of a task group that run at a time. */
export const MAX_SUBTASKS = 16;
export const TABLE_NAME = DATABASE_NAME;
export const OPTIMIZER_GROUP_NAME = NODE_NAME;
export const CONTAINER_NAME = NODE_NAME;
/** Temporal puts deployment and build into one word, with a dot or a colon between them. */
export const WORKER_DEPLOYMENT = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/;
export const BUILD_ID = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,62}$/;
export const RESOURCE_NAME = REQUEST_NAME;
export const MAX_TABLE_COLUMNS = 1_000;
export const COLUMN_NAME = /^\P{Cc}{1,128}$/u;
/** Types that a table's column can be created with, as DuckDB names them. */
export const COLUMN_TYPE =
  /^(BOOLEAN|TINYINT|SMALLINT|INTEGER|BIGINT|FLOAT|DOUBLE|DECIMAL\(\d{1,2},\d{1,2}\)|VARCHAR|BLOB|UUID|DATE|TIME|TIMESTAMP|TIMESTAMP WITH TIME ZONE)$/;
/** Bytes of one file that is ingested. */
export const MAX_INGESTED_BYTES = 1 << 30;
export const MAX_PIPELINES = 100;
/** Task groups of a job: what one Submit takes, and a job's rows in one transaction. */
export const MAX_TASK_GROUPS = 250;
/** Task groups that a node runs at a time. */
export const MAX_NODE_TASK_GROUPS = 10_000;
export const MAX_SOURCE_FILES = 5_000;
export const MAX_RETRY_TIMES = 1_000;
/** Of anything that is given as a duration and has no bound of its own. */
export const MAX_DURATION_MS = 365 * 86_400_000;
export const MIN_PROGRESS_TIMEOUT_MS = 100;
export const MAX_PROGRESS_TIMEOUT_MS = 86_400_000;
export const MAX_STATE_CLEANUP_DELAY_MS = 30 * 86_400_000;
export const MIN_CHECKPOINT_INTERVAL_MS = 10;
export const MAX_CHECKPOINT_INTERVAL_MS = 86_400_000;
/** As it stands in operation ids. */
export const JOB_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

const FIRST = 'the first one a letter or digit';
const IN_WORDS: ReadonlyMap<RegExp, string> = new Map([
  [DATABASE_NAME, '1 to 63 lower-case letters, digits or . _ -, the first one a letter'],
  [NODE_NAME, `1 to 63 lower-case letters, digits or . _ -, ${FIRST}`],
  [REQUEST_NAME, `1 to 63 letters, digits or . _ -, ${FIRST}`],
  [JOB_ID, `1 to 63 letters, digits or . _ -, ${FIRST}`],
  [WORKER_DEPLOYMENT, `1 to 63 letters, digits or _ -, ${FIRST}`],
  [BUILD_ID, `1 to 63 letters, digits or . _ + -, ${FIRST}`],
  [ACTOR_NAME, '1 to 128 characters in one line'],
  [COLUMN_NAME, '1 to 128 characters in one line'],
  [REASON, '1 to 256 characters in one line'],
  [OPERATION_ID, '1 to 512 characters in one line'],
]);

/** What a text of this pattern is, for whoever gave another one. */
export function inWords(pattern: RegExp): string {
  return IN_WORDS.get(pattern) ?? `a text like ${pattern.source}`;
}
