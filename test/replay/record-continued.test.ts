import { afterAll, beforeAll, describe, test } from 'vitest';
import { idsIn } from '../jobs/task-groups.js';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { rateJob } from '../support/jobs.js';
import { type Steward, startSteward } from '../support/steward.js';
import { recordHistory } from './recording.js';

/** Writes the histories anew: `RECORD_HISTORIES=1 npx vitest run test/replay/record`. Not part of a normal run. */
describe.skipIf(process.env['RECORD_HISTORIES'] === undefined)('records histories', () => {
  const room = temporaryDirectory('continued');
  let steward: Steward;
  beforeAll(async () => {
    steward = await startSteward({ continueAsNewAfter: 8 });
    await steward.nodesAlive();
  });
  afterAll(async () => {
    await steward?.stop();
    await room.remove();
  });

  test('of a job that is started again in a new run', async () => {
    const job = rateJob(
      room.path,
      { rows: 3_000, rowsPerSecond: 500 },
      { checkpointIntervalMs: 100, retryTimes: 1 },
    );
    const handle = await steward.client.jobs.submit({ jobId: 'continued', job });
    await eventually('rows', () => idsIn(room.path).length > 100);
    for (const { name } of steward.nodes) {
      await steward.fault(name, {
        target: 'run-task-group',
        times: 1,
        kind: { case: 'fail', value: { message: 'once' } },
      });
    }
    await over(handle);
    await steward.clearFaults();
    await handle.result();
    await recordBoth('runJob', handle);
  }, 120_000);

  test('of a recreation that finds no live node', async () => {
    const [group] = await steward.database('lacking', 1);
    await steward.node('node-3').kill();
    await eventually('node-3 is given up', async () => {
      await steward.client.regionGroups.forgetReplica({ groupId: group!, nodeId: 'node-3' });
      return true;
    });
    const recreation = await steward.client.regionGroups.recreateMissing({
      database: 'lacking',
      groups: [group!],
    });
    await over(recreation);
    await steward.node('node-3').restart();
    await recreation.result();
    await recordBoth('recreateMissingReplicas', recreation);
  }, 120_000);

  /** Resolves when the first run has continued as new. */
  async function over({ operationId, runId }: Operation): Promise<void> {
    await eventually('the first run is over', async () => {
      const { status } = await steward.temporal.client.workflow.getHandle(operationId, runId).describe();
      return status.name === 'CONTINUED_AS_NEW';
    });
  }

  async function recordBoth(type: string, { operationId, runId }: Operation): Promise<void> {
    await recordHistory(steward.temporalAddress, operationId, `${type}.continued-as-new`, runId);
    await recordHistory(steward.temporalAddress, operationId, `${type}.last-run`);
  }
});

interface Operation {
  readonly operationId: string;
  readonly runId: string;
}
