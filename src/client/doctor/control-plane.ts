import { durationMs, timestampDate } from '@bufbuild/protobuf/wkt';
import type { ControlProcess, GetStatusResponse } from '../../rpc/gen/steward/coordinator/v1/catalog_pb.js';
import type { Temporal } from '../temporal.js';
import { type Clock, examineClock } from './clocks.js';
import { enumerated, type Finding, ok, warn, wrong } from './finding.js';
import { pollersOf } from './temporal.js';

/** Coordinators, workers and the catalog. */

export function examineMigrations(status: GetStatusResponse): Finding {
  const check = 'catalog';
  const { migrationsApplied: applied, migrationsMissing: missing, migrationsUnknown: unknown } = status;
  if (missing.length > 0) {
    return wrong(
      check,
      `it lacks ${enumerated(missing)}`,
      'restart a coordinator of this version: it migrates the catalog when it starts, and says why when it cannot',
    );
  }
  if (unknown.length > 0) {
    return warn(
      check,
      `it has ${enumerated(unknown)}, which this coordinator (${status.version}) does not know`,
      'upgrade the coordinator: it is older than the catalog',
    );
  }
  return ok(check, `migrated to ${applied.at(-1)}, the newest`);
}

/** Those that run on the task queue, and whether they ask Temporal for work. */
export async function examineWorkers(
  status: GetStatusResponse,
  temporal: Temporal | undefined,
  taskQueue: string,
): Promise<Finding[]> {
  const check = 'workers';
  const all = status.processes.filter(({ kind }) => kind === 'worker');
  const living = all.filter(({ alive }) => alive);
  const workers = living.filter((worker) => worker.taskQueue === taskQueue);
  if (workers.length === 0) {
    const others = [...new Set(living.map((worker) => worker.taskQueue))];
    const last = all.at(-1);
    const found =
      others.length > 0
        ? `none serves task queue ${taskQueue}, only ${enumerated(others)}`
        : last === undefined
          ? 'none runs'
          : `none runs: the last one, ${nameOf(last)}, told of itself ${seconds(last)} ago`;
    return [
      wrong(
        check,
        found,
        'start one (steward local start, or the worker of your deployment); its log says why it does not stay',
      ),
    ];
  }
  const findings: Finding[] = [];
  const pollers = temporal === undefined ? undefined : await pollersOf(temporal);
  const polling = pollers?.filter(({ identity }) => workers.some((worker) => isOf(identity, worker)));
  if (polling?.length === 0) {
    findings.push(
      wrong(
        check,
        `${enumerated(workers.map(nameOf))} run, and none asks ${temporal!.name} for work from ${taskQueue}`,
        'see that TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE are the same for workers and for this command',
      ),
    );
  }
  const builds = [...new Set((polling ?? []).map(({ build }) => build).filter((build) => build !== ''))];
  if (builds.length > 1) {
    findings.push(
      warn(
        check,
        `they run ${builds.length} different builds: ${enumerated(builds)}`,
        'as it is while they are upgraded one by one; else upgrade those that were left behind',
      ),
    );
  }
  if (findings.length > 0) return findings;
  const versions = enumerated([...new Set(workers.map(({ version }) => version))]);
  const what = `${workers.length} ${workers.length === 1 ? 'runs' : 'run'} on ${taskQueue}, version ${versions}`;
  return [ok(check, what)];
}

/** What has to be the same wherever it is set. */
export function examineSettings(status: GetStatusResponse): Finding {
  const check = 'settings';
  const living = status.processes.filter(({ alive }) => alive);
  const values = new Map<number, ControlProcess[]>();
  for (const process of living) {
    const value = process.nodeTimeout === undefined ? 0 : durationMs(process.nodeTimeout);
    values.set(value, [...(values.get(value) ?? []), process]);
  }
  const versions = [...new Set(living.map(({ version }) => version))];
  if (values.size > 1) {
    const parts = [...values].map(
      ([value, those]) => `${value} at ${enumerated(those.map((one) => `${one.kind} ${nameOf(one)}`))}`,
    );
    return wrong(
      check,
      `STEWARD_NODE_TIMEOUT_MS is ${enumerated(parts)}: they do not agree on which nodes live`,
      'give coordinators and workers the same value, and restart those that have another one',
    );
  }
  if (versions.length > 1) {
    return warn(
      check,
      `coordinators and workers are of versions ${enumerated(versions)}`,
      'as it is during an upgrade; else upgrade those that were left behind',
    );
  }
  const [nodeTimeoutMs] = values.keys();
  return ok(
    check,
    `coordinators and workers agree: STEWARD_NODE_TIMEOUT_MS ${nodeTimeoutMs ?? ''}`.trimEnd(),
  );
}

/** The clocks of coordinator and database, against the one here. */
export function examineControlClocks(status: GetStatusResponse, clock: Clock): Finding[] {
  const { catalogNow, coordinatorNow } = status;
  return [
    ...(catalogNow ? [examineClock('the database', timestampDate(catalogNow), clock)] : []),
    ...(coordinatorNow ? [examineClock('the coordinator', timestampDate(coordinatorNow), clock)] : []),
  ].filter((finding) => finding !== undefined);
}

/** Temporal's SDK names a worker `<pid>@<host>`. */
function isOf(identity: string, { pid, host }: ControlProcess): boolean {
  return identity === `${pid}@${host}`;
}

function nameOf({ pid, host }: ControlProcess): string {
  return `${pid}@${host}`;
}

function seconds({ silent }: ControlProcess): string {
  return `${Math.round((silent === undefined ? 0 : durationMs(silent)) / 1_000)} s`;
}
