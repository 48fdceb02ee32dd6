import { afterAll, beforeAll, describe, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';
import { recordHistory } from './recording.js';

/** `RECORD_HISTORIES=1 npx vitest run test/replay/record-keepers.test.ts`: see record.test.ts. */
describe.skipIf(process.env['RECORD_HISTORIES'] === undefined)('records histories', () => {
  let steward: Steward;
  beforeAll(async () => {
    steward = await startSteward({ nodes: 1 });
    await steward.nodesAlive();
  });
  afterAll(() => steward?.stop());

  test('of a keeper through restarts, Updates and continue-as-new, and of what finds keepers that are missing', async () => {
    const group = 'kept';
    const settings = { autoRestart: true, minParallelism: 2, threadsPerOptimizer: 1, gracePeriodMs: 500 };
    await steward.client.optimizerGroups.create({ name: group, settings, intervalMs: 200 });
    const keeper = `optimizer-group/${group}`;
    await steward.temporal.client.workflow.getHandle(keeper).terminate('another one begins');
    const { firstExecutionRunId } = await steward.temporal.client.workflow.start('keepOptimizerGroup', {
      workflowId: keeper,
      taskQueue: 'steward',
      args: [{ group, actor: 'tester', intervalMs: 200, cyclesPerRun: 12 }],
    });
    await steward.client.optimizerGroups.scale(group, { heartbeatTimeoutMs: 500 });
    await steward.client.optimizerGroups.pause(group, 'for a look');
    await steward.client.optimizerGroups.resume(group);
    await steward.client.optimizerGroups.reset(group);
    await eventually(
      'the first run is over',
      async () => {
        const { runId } = await steward.temporal.client.workflow.getHandle(keeper).describe();
        return runId !== firstExecutionRunId;
      },
      60_000,
    );
    await recordHistory(steward.temporalAddress, keeper, 'keepOptimizerGroup.first-run', firstExecutionRunId);
    await steward.temporal.client.workflow.getHandle(keeper).terminate('it is missing now');
    await steward.client.schedules.trigger('steward/ensure-keepers');
    const ensured = await eventually(
      'the keepers are ensured',
      async () => {
        const query = "WorkflowType = 'ensureKeepers' AND ExecutionStatus = 'Completed'";
        for await (const info of steward.temporal.client.workflow.list({ query })) {
          const result = await steward.temporal.client.workflow
            .getHandle(info.workflowId, info.runId)
            .result();
          if (result.started.includes(group)) return info;
        }
        return undefined;
      },
      60_000,
    );
    await recordHistory(steward.temporalAddress, ensured.workflowId, 'ensureKeepers.started', ensured.runId);
    await steward.temporal.client.workflow.getHandle(keeper).terminate('recorded');
  }, 180_000);
});
