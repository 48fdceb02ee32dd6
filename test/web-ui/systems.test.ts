import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type OptimizingSteward, SOON, startOptimizingSteward } from '../optimizing/optimizing-steward.js';
import { eventually } from '../support/eventually.js';
import { rateJob } from '../support/jobs.js';
import { CHROMIUM, openBrowser, SKIPPED, type WebUi } from './open-browser.js';

const LOADED_WITHIN_MS = 8_000;
const SHOWN_WITHIN_MS = 120_000;

describe.skipIf(CHROMIUM === undefined)(`what the Web UI shows of heals, keepers and jobs${SKIPPED}`, () => {
  let steward: OptimizingSteward;
  let webUi: WebUi;

  beforeAll(async () => {
    steward = await startOptimizingSteward({ webUi: true });
    webUi = await openBrowser(steward.temporal.webUi!);
  }, 120_000);
  afterAll(async () => {
    await webUi?.close();
    await steward?.stop();
  });

  /** The details, once they say this; the page shows them as they were when it was loaded. */
  async function detailsWith(text: RegExp): Promise<string> {
    await webUi.tab('User Metadata');
    const read = async () => {
      const shown = await webUi.text();
      return text.test(shown) && shown;
    };
    return eventually(
      `the details say ${text}`,
      async () => {
        const shown = await eventually('they are loaded', read, LOADED_WITHIN_MS).catch(() => undefined);
        if (shown === undefined) await webUi.page.reload();
        return shown;
      },
      SHOWN_WITHIN_MS,
    );
  }

  test('a heal: what was stuck, in which shape, and what became of it', async () => {
    await steward.optimizer('node-1', { 'merge-delay-ms': '700' });
    const table = await steward.table('orders', 5);
    const processId = await steward.optimize(table);
    const lock = await steward.hold(`SELECT FROM data_table WHERE name = '${table}' FOR UPDATE`);
    await eventually('its commit has given up', () =>
      steward
        .warnings(steward.coordinator)
        .some(({ msg, table: of }) => msg === 'settling failed' && of === table),
    );
    await lock.release();
    const healed = await eventually('it is healed', async () => {
      const handle = await steward.client.heals.run({ graces: SOON });
      return (await handle.result()).healed.length > 0 && handle;
    });
    await webUi.open(healed.operationId);
    await webUi.page.getByText('heal 1 stuck process').first().waitFor();
    await detailsWith(new RegExp(`orders\\s+${processId}\\s+S1\\s+FULL_OPTIMIZING\\s+COMMITTING`));
    await webUi.picture('heal');
  }, 180_000);

  test('a keeper: live optimizers, orphans and their restarts, and when it is paused why', async () => {
    const settings = {
      autoRestart: true,
      maxRetries: 1_000,
      minParallelism: 2,
      threadsPerOptimizer: 1,
      memoryMbPerOptimizer: 128,
      gracePeriodMs: 8_000,
      heartbeatTimeoutMs: 3_000,
    };
    const { optimizerGroups } = steward.client;
    await optimizerGroups.create({ name: 'nightly', settings, intervalMs: 500 });
    const [first] = await eventually('both live', async () => {
      const { resources } = await optimizerGroups.get('nightly');
      const live = resources.filter(
        ({ optimizer, processId }) => optimizer?.alive && processId !== undefined,
      );
      return live.length === 2 && live;
    });
    for (const { name } of steward.nodes) {
      await steward.fault(name, {
        target: 'request-resource',
        kind: { case: 'fail', value: { message: 'no memory left', afterEffect: false } },
      });
    }
    process.kill(Number.parseInt(first!.processId!, 10), 'SIGKILL');
    await webUi.open('optimizer-group/nightly');
    const details = await detailsWith(/no memory left[\s\S]*orphan\s+restarts/);
    expect(details).toMatch(/Optimizer group nightly: 1 optimizers?, 1 threads?, minimum 2/);
    expect(details).toMatch(new RegExp(`${first!.resourceId}\\s+\\d+`));
    await webUi.picture('keeper');
    await optimizerGroups.pause('nightly', 'the cluster moves');
    await detailsWith(/PAUSED: the cluster moves \(tester\)/);
    await steward.clearFaults();
    await optimizerGroups.resume('nightly');
  }, 180_000);

  test('a job: its state, execution, restarts and task groups', async () => {
    await steward.nodesAlive();
    const running = await steward.client.jobs.submit({
      jobId: 'clicks',
      job: rateJob(`${steward.directory}/clicks`, { rows: 100_000, rowsPerSecond: 50, taskGroups: 2 }),
    });
    await eventually('it runs', async () => (await steward.client.jobs.get('clicks')).state === 'RUNNING');
    await webUi.open(running.operationId);
    await webUi.page.getByText('supervise execution').first().waitFor();
    const details = await detailsWith(/Job clicks is RUNNING/);
    expect(details).toMatch(/\d+\s+0 of 0\s+2/);
    await webUi.picture('job');
    await steward.client.jobs.cancel('clicks');
  }, 180_000);
});
