import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type OptimizingSteward, SOON, startOptimizingSteward } from '../optimizing/optimizing-steward.js';
import { eventually } from '../support/eventually.js';
import { rateJob } from '../support/jobs.js';
import { CHROMIUM, openBrowser, SKIPPED, type WebUi } from './open-browser.js';

const LOOK_EVERY_MS = 1_000;

describe.skipIf(CHROMIUM === undefined)(`what the Web UI shows of each system${SKIPPED}`, () => {
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
  async function detailsWith(text: string | RegExp): Promise<string> {
    await webUi.tab('User Metadata');
    return eventually(`the details say ${text}`, async () => {
      await webUi.page.getByText('Current Details').first().waitFor();
      const shown = await webUi.text();
      if (typeof text === 'string' ? shown.includes(text) : text.test(shown)) return shown;
      await webUi.page.waitForTimeout(LOOK_EVERY_MS);
      await webUi.page.reload();
      return undefined;
    });
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
    const details = await detailsWith('outcome');
    expect(details).toMatch(new RegExp(`orders\\s+${processId}\\s+S1\\s+FULL_OPTIMIZING\\s+COMMITTING`));
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
    const details = await detailsWith(/orphan\s+restarts/);
    expect(details).toMatch(/Optimizer group nightly: 1 optimizers?, 1 threads?, minimum 2/);
    expect(details).toMatch(new RegExp(`${first!.resourceId}\\s+\\d+`));
    expect(details).toContain('no memory left');
    await webUi.picture('keeper');
    await optimizerGroups.pause('nightly', 'the cluster moves');
    await detailsWith('PAUSED: the cluster moves (tester)');
    await steward.clearFaults();
    await optimizerGroups.resume('nightly');
  }, 180_000);

  test('a job: its state, its execution and how many task groups it has', async () => {
    const job = rateJob(
      join(steward.directory, 'clicks'),
      { rows: 0, taskGroups: 2 },
      { jobMode: 'STREAMING', checkpointIntervalMs: 500 },
    );
    const handle = await steward.client.jobs.submit({ jobId: 'clicks', job });
    await eventually('it runs', async () => (await steward.client.jobs.get('clicks')).state === 'RUNNING');
    await webUi.open('job/clicks');
    await webUi.page.getByText('supervise execution').first().waitFor();
    const details = await detailsWith('RUNNING');
    expect(details).toContain('clicks');
    await webUi.picture('job');
    await steward.client.jobs.cancel('clicks');
    expect(await handle.result()).toMatchObject({ outcome: 'CANCELED' });
  }, 180_000);
});
