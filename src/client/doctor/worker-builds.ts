import type { GetStatusResponse } from '../../rpc/gen/steward/coordinator/v1/catalog_pb.js';
import type { Builds, Workers } from '../workers.js';
import { enumerated, type Finding, ok, warn, wrong } from './finding.js';

const CHECK = 'builds';

/** Builds of workers that have a version: whether each that is given work has workers. Nothing where none has one. */
export async function examineBuilds(
  status: GetStatusResponse,
  workers: Workers,
  taskQueue: string,
): Promise<Finding[]> {
  const here = status.processes.filter((one) => one.kind === 'worker' && one.taskQueue === taskQueue);
  const deployments = [...new Set(here.map(({ deployment }) => deployment))].filter((name) => name !== '');
  const parts = await Promise.all(
    deployments.map(async (deployment) =>
      examineDeployment(deployment, (await workers.builds({ deployment })).builds),
    ),
  );
  const bare = here.filter(({ alive, deployment }) => alive && deployment === '').length;
  if (deployments.length > 0 && bare > 0) {
    const found = `${bare} of the workers have no version: they are given nothing beside those of ${enumerated(deployments)}`;
    parts.push([
      warn(CHECK, found, 'start them with STEWARD_WORKER_DEPLOYMENT, as the others, or stop them'),
    ]);
  }
  return parts.flat();
}

function examineDeployment(deployment: string, builds: Builds['builds']): Finding[] {
  const living = builds.find(({ workers }) => workers > 0);
  const findings = builds.flatMap((build) => {
    const { buildId, state, workers, pinned } = build;
    if (workers > 0) return [];
    if (state !== 'IDLE') {
      const share = state === 'CURRENT' ? 'all work' : `${build.percentage} % of the work`;
      const other = living === undefined ? '' : `; or steward worker make-current ${living.buildId}`;
      return [
        wrong(
          CHECK,
          `${buildId} of ${deployment} is given ${share}, and no worker of it runs`,
          `start one${other}`,
        ),
      ];
    }
    if (pinned === 0) return [];
    const are = pinned === 1 ? 'workflow is' : 'workflows are';
    return [
      wrong(
        CHECK,
        `${pinned} open ${are} pinned to ${buildId} of ${deployment}, and no worker of it runs`,
        'start one; or let them go on with the current build: temporal workflow update-options --workflow-id <id> ' +
          '--versioning-override-behavior auto_upgrade',
      ),
    ];
  });
  const current = builds.find(({ state }) => state === 'CURRENT');
  if (current === undefined) {
    const fix = `steward worker make-current ${living?.buildId ?? '<build>'}`;
    findings.unshift(wrong(CHECK, `no build of ${deployment} is current: what is started waits`, fix));
  }
  if (findings.length > 0 || current === undefined) return findings;
  const run = current.workers === 1 ? 'worker runs' : 'workers run';
  return [ok(CHECK, `${current.buildId} of ${deployment} is current, ${current.workers} ${run}`)];
}
