import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { onPath } from '../support/on-path.js';
import { type Steward, startSteward } from '../support/steward.js';

const program = onPath('chromium', 'chromium-browser', 'google-chrome');
const skipped = program === undefined ? ' (no Chromium on PATH: skipped)' : '';
/** A directory for pictures of what the test sees; none are taken without it. */
const pictures = process.env['STEWARD_TEST_PICTURES'];
const SLOW_MS = 25_000;

describe.skipIf(program === undefined)(`the Web UI, in a browser${skipped}`, () => {
  let steward: Steward;
  let browser: Browser;
  let page: Page;
  let failing: number;

  beforeAll(async () => {
    steward = await startSteward({ webUi: true });
    // As root Chromium has no sandbox; it sees nothing but this server.
    browser = await chromium.launch({ executablePath: program!, args: ['--no-sandbox', '--disable-gpu'] });
    page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    page.setDefaultTimeout(SLOW_MS);
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
    await browser?.close();
    await steward?.stop();
  });

  test('filtered by StewardDatabase it lists what is done to that database alone', async () => {
    const query = 'StewardDatabase="sales" AND ExecutionStatus="Running"';
    await page.goto(`${webUi()}/workflows?query=${encodeURIComponent(query)}`);
    await page.getByRole('link', { name: 'database/sales/delete' }).first().waitFor();
    expect(await page.getByText('database/stock/delete').count()).toBe(0);
    expect(await page.getByText('database/sales/create').count(), 'the creation is over').toBe(0);
    await picture('list');
  }, 90_000);

  test('a running deletion shows its nodes, and on the pending activity region, node and progress', async () => {
    await page.getByRole('link', { name: 'database/sales/delete' }).first().click();
    await page.getByText('delete 2 regions on node-2').first().waitFor();
    await picture('history');

    await page.getByRole('tab', { name: 'User Metadata' }).click();
    const details = await eventually('the details are shown', async () => {
      const text = await everyFrame();
      return text.includes('see its pending activity') && text;
    });
    expect(details).toContain('Deleting database sales: 2 region groups');
    for (const row of [/node-1\s+2\s+done/, /node-2\s+2\s+delete under way/, /node-3\s+2\s+done/]) {
      expect(details).toMatch(row);
    }
    await picture('details');

    await page.getByRole('tab', { name: 'Pending Activities' }).click();
    await page.getByText('node-2: 2 deletions open: 1 processing').first().waitFor();
    expect(await everyFrame()).toMatch(
      new RegExp(
        `node-2: 2 deletions open: 1 processing.*, BLOCKED: 1 failing, region ${failing} after \\d+ attempts: INTERNAL: disk read-only`,
      ),
    );
    await picture('pending');
  }, 90_000);

  function webUi(): string {
    return `${steward.temporal.webUi}/namespaces/default`;
  }

  /** Markdown is shown in a frame of its own. */
  async function everyFrame(): Promise<string> {
    // biome-ignore lint/performance/useDomNodeTextContent: as it is laid out, so that cells of a table stand apart
    const texts = await Promise.all(page.frames().map((frame) => frame.locator('body').innerText()));
    return texts.join('\n');
  }

  async function picture(name: string): Promise<void> {
    if (pictures !== undefined) await page.screenshot({ path: `${pictures}/${name}.png` });
  }
});
