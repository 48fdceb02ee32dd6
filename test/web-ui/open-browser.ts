import { type Browser, chromium, type Page } from 'playwright-core';
import { onPath } from '../support/on-path.js';

/** Chromium on the PATH; undefined where there is none, and tests that need it are skipped. */
export const CHROMIUM = onPath('chromium', 'chromium-browser', 'google-chrome');
/** For the name of what is skipped. */
export const SKIPPED = CHROMIUM === undefined ? ' (no Chromium on PATH: skipped)' : '';

/** A directory for pictures of what tests see; none are taken without it. */
const PICTURES = process.env['STEWARD_TEST_PICTURES'];
/** Of a machine that is busy. */
const SLOW_MS = 60_000;

/** A page of Temporal's Web UI, in a browser of its own. */
export interface WebUi {
  readonly page: Page;
  /** Opens the workflow of that id. */
  open(workflowId: string): Promise<void>;
  /** Opens a tab of the workflow that is open. */
  tab(name: 'User Metadata' | 'Pending Activities' | 'Event History'): Promise<void>;
  /** Everything that is shown: Markdown is in a frame of its own. */
  text(): Promise<string>;
  picture(name: string): Promise<void>;
  close(): Promise<void>;
}

/** @param address of the Web UI */
export async function openBrowser(address: string): Promise<WebUi> {
  // As root Chromium has no sandbox; it sees nothing but this server.
  const browser: Browser = await chromium.launch({
    executablePath: CHROMIUM!,
    args: ['--no-sandbox', '--disable-gpu'],
  });
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  page.setDefaultTimeout(SLOW_MS);
  const namespace = `${address}/namespaces/default`;
  return {
    page,
    async open(workflowId) {
      const query = encodeURIComponent(`WorkflowId="${workflowId}"`);
      await page.goto(`${namespace}/workflows?query=${query}`);
      await page.getByRole('link', { name: workflowId }).first().click();
    },
    async tab(name) {
      await page.getByRole('tab', { name }).click();
    },
    async text() {
      // biome-ignore lint/performance/useDomNodeTextContent: as it is laid out, so that cells of a table stand apart
      const texts = await Promise.all(page.frames().map((frame) => frame.locator('body').innerText()));
      return texts.join('\n');
    },
    async picture(name) {
      if (PICTURES !== undefined) await page.screenshot({ path: `${PICTURES}/${name}.png` });
    },
    close: () => browser.close(),
  };
}
