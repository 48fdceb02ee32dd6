import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';
import { CHROMIUM, openBrowser, SKIPPED, type WebUi } from './open-browser.js';

describe.skipIf(CHROMIUM === undefined)(`the Web UI, in a browser${SKIPPED}`, () => {
  let steward: Steward;
  let webUi: WebUi;
  let failing: number;

  beforeAll(async () => {
    steward = await startSteward({ webUi: true });
    webUi = await openBrowser(steward.temporal.webUi!);
    const groups = await steward.database('sales', 2);
    failing = groups[0]!;
    await steward.database('stock', 1);
    await steward.fault('node-2', {
      target: 'delete-region',
      match: `/${failing}/node-2@`,
      kind: { case: 'fail', value: { message: 'disk read-only', afterEffect: false } },
    });
    await steward.fault('node-2', {
      target: 'delete-region',
      kind: { case: 'delay', value: { seconds: 600n } },
    });
    await steward.client.databases.delete('sales');
    await steward.client.databases.delete('stock');
  }, 120_000);

  afterAll(async () => {
    await webUi?.close();
    await steward?.stop();
  });

  test('filtered by StewardDatabase it lists what is done to that database alone', async () => {
    const query = 'StewardDatabase="sales" AND ExecutionStatus="Running"';
    const { page } = webUi;
    await page.goto(
      `${steward.temporal.webUi}/namespaces/default/workflows?query=${encodeURIComponent(query)}`,
    );
    await page.getByRole('link', { name: 'database/sales/delete' }).first().waitFor();
    expect(await page.getByText('database/stock/delete').count()).toBe(0);
    expect(await page.getByText('database/sales/create').count(), 'the creation is over').toBe(0);
    await webUi.picture('deletion-list');
  }, 90_000);

  test('a running deletion shows its nodes, and on the pending activity region, node and progress', async () => {
    const { page } = webUi;
    await page.getByRole('link', { name: 'database/sales/delete' }).first().click();
    await page.getByText('delete 2 regions on node-2').first().waitFor();
    await webUi.picture('deletion-history');

    await webUi.tab('User Metadata');
    const details = await eventually('the details are shown', async () => {
      const text = await webUi.text();
      return text.includes('see its pending activity') && text;
    });
    expect(details).toContain('Deleting database sales: 2 region groups');
    for (const row of [/node-1\s+2\s+done/, /node-2\s+2\s+delete under way/, /node-3\s+2\s+done/]) {
      expect(details).toMatch(row);
    }
    await webUi.picture('deletion-details');

    await webUi.tab('Pending Activities');
    await page.getByText('node-2: 2 deletions open: 1 processing').first().waitFor();
    expect(await webUi.text()).toMatch(
      new RegExp(
        `node-2: 2 deletions open: 1 processing.*, BLOCKED: 1 failing, region ${failing} after \\d+ attempts: INTERNAL: disk read-only`,
      ),
    );
    await webUi.picture('deletion-blocked');
  }, 90_000);
});
