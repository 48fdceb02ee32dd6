import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { BUILD_ID, WORKER_DEPLOYMENT } from '../rules/bounds.js';
import { type ListenAddress, readListenAddress } from './listen-address.js';

/**
 * The settings of the control plane's processes, each with its default; read from the environment once, at the edge.
 * Units are in the names.
 */
const settingsSchema = z.object({
  /** PostgreSQL that holds the catalog; or a file that holds the URL, in DATABASE_URL_FILE. */
  DATABASE_URL: z.url({
    protocol: /^postgres(ql)?$/,
    error: 'expected the URL of PostgreSQL, postgresql://..., or a file that holds it in DATABASE_URL_FILE',
  }),
  STEWARD_TASK_QUEUE: z.string().min(1).default('steward'),
  /** Deadline of one call to a node. A time-out means unknown (I1), so it may be short. */
  STEWARD_RPC_DEADLINE_MS: milliseconds(2_000),
  /** A creation that is unanswered after this counts as unknown. */
  STEWARD_CREATION_TIMEOUT_MS: milliseconds(60_000),
  /** A node whose last heartbeat is older is not alive. */
  STEWARD_NODE_TIMEOUT_MS: milliseconds(15_000),
  STEWARD_HEARTBEAT_INTERVAL_MS: milliseconds(3_000),
  /** The nodes of a running job are asked at least this often; what they report comes at once. */
  STEWARD_JOB_POLL_INTERVAL_MS: milliseconds(2_000),
  /** How long a transaction waits for a row lock. */
  STEWARD_LOCK_TIMEOUT_MS: milliseconds(3_000),
  STEWARD_STATEMENT_TIMEOUT_MS: milliseconds(20_000),
  /** Most connections to PostgreSQL that a worker or coordinator has at a time; what needs one more waits up to 5 s. */
  STEWARD_DATABASE_CONNECTIONS: z.coerce.number().int().min(1).max(1_000).default(10),
  /** Module that exports `containers`: further containers of optimizers, by name (src/engines/containers.ts). */
  STEWARD_CONTAINERS: z.string().min(1).optional(),
  /** Directory of the tables; the same path for coordinator, workers and optimizers. */
  STEWARD_WAREHOUSE: z.string().startsWith('/').default('/var/lib/steward/warehouse'),
  /** An optimizer that found no task asks again after this. */
  STEWARD_POLL_INTERVAL_MS: milliseconds(1_000),
  /** Size that optimizing aims at for the files of a table. */
  STEWARD_TARGET_FILE_BYTES: z.coerce.number().int().min(1_024).default(134_217_728),
  /** Name of the worker deployment that a worker belongs to: it tells Temporal its build then, and is given work by that. */
  STEWARD_WORKER_DEPLOYMENT: z
    .string()
    .regex(WORKER_DEPLOYMENT, 'expected a name of letters, digits, _ and -')
    .optional(),
  /** The worker's build; by default made of the workflow code. Counts only with STEWARD_WORKER_DEPLOYMENT. */
  STEWARD_BUILD_ID: z.string().regex(BUILD_ID, 'expected letters, digits, ., _, + and -').optional(),
  /** host:port at which a worker or coordinator shows Prometheus what it counts; off when absent. */
  STEWARD_METRICS_LISTEN: listenAddress(),
  /** host:port at which the worker shows what Temporal's SDK counts; off when absent. */
  STEWARD_SDK_METRICS_LISTEN: listenAddress(),
});

export interface Settings {
  readonly databaseUrl: string;
  /** Where it was read, and is read again for new connections; undefined when it came from DATABASE_URL. */
  readonly databaseUrlFile: string | undefined;
  readonly taskQueue: string;
  readonly rpcDeadlineMs: number;
  readonly creationTimeoutMs: number;
  readonly nodeTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  readonly jobPollIntervalMs: number;
  readonly lockTimeoutMs: number;
  readonly statementTimeoutMs: number;
  readonly databaseConnections: number;
  readonly containersModule: string | undefined;
  readonly warehouse: string;
  readonly pollIntervalMs: number;
  readonly targetFileBytes: number;
  readonly workerDeployment: string | undefined;
  readonly buildId: string | undefined;
  readonly metricsListen: ListenAddress | undefined;
  readonly sdkMetricsListen: ListenAddress | undefined;
}

/** Settings from the environment. Throws an Error that names each variable that is wrong. */
export function readSettings(environment: NodeJS.ProcessEnv = process.env): Settings {
  const parsed = settingsSchema.safeParse(withDatabaseUrl(environment));
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
    throw new Error(`wrong environment: ${problems.join('; ')}`);
  }
  const values = parsed.data;
  return {
    databaseUrl: values.DATABASE_URL,
    databaseUrlFile: databaseUrlFile(environment),
    taskQueue: values.STEWARD_TASK_QUEUE,
    rpcDeadlineMs: values.STEWARD_RPC_DEADLINE_MS,
    creationTimeoutMs: values.STEWARD_CREATION_TIMEOUT_MS,
    nodeTimeoutMs: values.STEWARD_NODE_TIMEOUT_MS,
    heartbeatIntervalMs: values.STEWARD_HEARTBEAT_INTERVAL_MS,
    jobPollIntervalMs: values.STEWARD_JOB_POLL_INTERVAL_MS,
    lockTimeoutMs: values.STEWARD_LOCK_TIMEOUT_MS,
    statementTimeoutMs: values.STEWARD_STATEMENT_TIMEOUT_MS,
    databaseConnections: values.STEWARD_DATABASE_CONNECTIONS,
    containersModule: values.STEWARD_CONTAINERS,
    warehouse: values.STEWARD_WAREHOUSE,
    pollIntervalMs: values.STEWARD_POLL_INTERVAL_MS,
    targetFileBytes: values.STEWARD_TARGET_FILE_BYTES,
    workerDeployment: values.STEWARD_WORKER_DEPLOYMENT,
    buildId: values.STEWARD_BUILD_ID,
    metricsListen: values.STEWARD_METRICS_LISTEN,
    sdkMetricsListen: values.STEWARD_SDK_METRICS_LISTEN,
  };
}

/**
 * DATABASE_URL, which holds a password, may be in a file: DATABASE_URL_FILE. DATABASE_URL wins. Throws an Error that names
 * the file and nothing of its content.
 */
function withDatabaseUrl(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const file = databaseUrlFile(environment);
  if (file === undefined) return environment;
  try {
    return { ...environment, DATABASE_URL: readFileSync(file, 'utf8').trim() };
  } catch (cause) {
    throw new Error(`wrong environment: DATABASE_URL_FILE: ${file} cannot be read`, { cause });
  }
}

function databaseUrlFile({
  DATABASE_URL: url,
  DATABASE_URL_FILE: file,
}: NodeJS.ProcessEnv): string | undefined {
  return url !== undefined || file === '' ? undefined : file;
}

function milliseconds(fallback: number) {
  return z.coerce.number().int().min(1).max(86_400_000).default(fallback);
}

function listenAddress() {
  return z
    .string()
    .transform((text, context): ListenAddress => {
      const address = readListenAddress(text);
      if (address !== undefined) return address;
      context.addIssue({ code: 'custom', message: 'expected host:port, such as 127.0.0.1:9464' });
      return z.NEVER;
    })
    .optional();
}
