import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { commandPaths } from '../../src/cli/reference.js';
import { stewardProgram } from '../../src/cli/run.js';
import { projectRoot } from '../../src/project.js';
import { temporaryDirectory } from '../support/guard.js';
import { freePort } from '../support/ports.js';
import { provided } from '../support/provided.js';
import { NOT_RUN, READS } from './documented/not-run.js';
import { commandLines, PAGES, readPage } from './documented/pages.js';
import type { Scenario, Step } from './documented/scenario.js';
import { SCENARIOS } from './documented/scenarios.js';
import { makeCheckout, openShell } from './documented/shell.js';
import { steward } from './steward-command.js';

/**
 * Every command of README and docs, typed as it stands into a shell, on one local stack. What needs another line before it,
 * or another exit code than 0, has a scenario in documented/, one file a page; what is not run stands there with its reason.
 */
const NAMES = new Set(commandPaths(stewardProgram()));
const room = temporaryDirectory('documented');
const environment = {
  STEWARD_HOME: join(room.path, '.steward'),
  STEWARD_NODE_TIMEOUT_MS: '4000',
  STEWARD_HEARTBEAT_INTERVAL_MS: '400',
};
/** Each command, with the time that it took. */
const TELLS = process.env['STEWARD_TEST_COMMANDS'] !== undefined;
const REFERENCE = 'docs/cli.md';

const ports = new Map<string, number>();

beforeAll(async () => {
  makeCheckout(room.path, [provided('temporalBinary')]);
  for (const port of ['7070', '7101']) ports.set(port, await freePort());
});
afterAll(async () => {
  await steward(['local', 'stop'], { env: environment });
  await room.remove();
}, 90_000);

test('npm start is what the first page runs here', () => {
  const { scripts } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8'));
  expect(scripts.start).toBe('node bin/steward.js local start --tour');
});

test('every scenario is of a page', () => {
  const unknown = SCENARIOS.filter(({ page }) => !PAGES.includes(page));
  expect(unknown).toEqual([]);
});

test('what a page leaves to another one is run there', () => {
  for (const { page, steps = {} } of SCENARIOS) {
    for (const [line, { elsewhere }] of Object.entries(steps)) {
      if (elsewhere === undefined) continue;
      const there = commandLines(readPage(elsewhere), NAMES).map(bare);
      expect(there, `${page}: ${line}`).toContain(bare(line));
      const steps = SCENARIOS.find(({ page }) => page === elsewhere)?.steps ?? {};
      expect(steps[line]?.elsewhere).toBeUndefined();
    }
  }
});

// Chosen before the first one runs, so that a page that is tried again runs all of its commands again.
test.each(withChosen(inOrder()))(
  '$page: every command does what the page says',
  async ({ page, chosen, steps = {}, files = [], after = [] }) => {
    const text = readPage(page);
    const lines = commandLines(text, NAMES);
    expect(
      Object.keys(steps).filter((line) => !lines.includes(line)),
      'steps of no line of the page',
    ).toEqual([]);
    for (const [index, script] of scripts(text).entries()) {
      writeFileSync(join(room.path, files[index]!), withPlaces(script), { mode: 0o755 });
    }
    const shell = openShell(room.path, environment);
    const wrong: string[] = [];
    const run = async (line: string, { exit = 0, says }: Step) => {
      const began = performance.now();
      const { code, output } = await shell.run(withPlaces(line));
      if (TELLS) console.log(`${page}: ${Math.round(performance.now() - began)} ms  ${code}  ${line}`);
      if (code === exit && (says === undefined || says.test(output))) return;
      const expected = says === undefined ? exit : `${exit} and ${says}`;
      wrong.push(`$ ${line}\n${output.trim()}\nexit code ${code}, expected ${expected}`);
    };
    try {
      for (const line of chosen) {
        const step = steps[line];
        for (const before of step?.before ?? []) await run(before, {});
        await run(step?.line ?? line, step ?? {});
      }
      for (const line of after) await run(line, {});
    } finally {
      await shell.close();
    }
    expect(wrong.join('\n\n')).toBe('');
  },
  1_200_000,
);

test.skip.each(NOT_RUN)('%s: %s', () => {});

/** A page without a scenario runs as it stands, before the one that stops the stack. */
function inOrder(): Scenario[] {
  const known = SCENARIOS.map(({ page }) => page);
  const others = PAGES.filter((page) => !known.includes(page)).map((page) => ({ page }));
  return [...SCENARIOS.slice(0, -1), ...others, ...SCENARIOS.slice(-1)];
}

/** With the lines of each page that are run: what only looks once at all, what the reference repeats once as well. */
function withChosen(scenarios: readonly Scenario[]): (Scenario & { readonly chosen: readonly string[] })[] {
  const known = new Set<string>();
  return scenarios.map((scenario) => {
    const { page, steps = {} } = scenario;
    const chosen = commandLines(readPage(page), NAMES).filter((line) => {
      const run = steps[line]?.line ?? line;
      if (steps[line]?.elsewhere !== undefined || NOT_RUN.some(([begin]) => run.startsWith(begin)))
        return false;
      const isKnown = known.has(bare(run));
      known.add(bare(run));
      return !isKnown || !(READS.test(run) || page === REFERENCE);
    });
    return { ...scenario, chosen };
  });
}

/** The ports that pages name may be taken here, and the directories are another run's. */
function withPlaces(text: string): string {
  return text
    .replaceAll(/127\.0\.0\.1:(7070|7101)\b/g, (_, port: string) => `127.0.0.1:${ports.get(port)}`)
    .replaceAll('/tmp/', `${room.path}/`);
}

/** Blocks of a page that are a file and not what is typed. */
function scripts(markdown: string): string[] {
  return [...markdown.matchAll(/^```sh\n(#![\s\S]*?)^```$/gm)].map(([, script]) => script!);
}

function bare(line: string): string {
  return line.replace(/^npx /, '');
}
