import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checksNamed } from '../../src/conformance/registry.js';
import type { ConformanceReport } from '../../src/conformance/report.js';
import { checkConformance } from '../../src/conformance/run.js';
import { readTransport } from '../../src/model/transport.js';
import { Credentials } from '../../src/rpc/credentials.js';
import { freePort } from '../support/ports.js';
import { BROKEN_NODES, type BrokenNode } from './broken/nodes.js';
import { buildBrokenNodes, startBrokenNode } from './broken/start.js';

const credentials = new Credentials(readTransport({}));

beforeAll(buildBrokenNodes, 60_000);
afterAll(() => credentials.close());

async function check(broken: BrokenNode, only?: readonly string[]): Promise<ConformanceReport> {
  const port = await freePort();
  const node = await startBrokenNode(broken.name, port);
  try {
    return await checkConformance({
      target: { url: `http://127.0.0.1:${port}`, credentials },
      ...(only !== undefined && { checks: checksNamed(only) }),
      restart: () => node.process.restart(),
    });
  } finally {
    await node.end();
  }
}

/** The checks that failed, each with what the kit says of it. */
function failures({ checks }: ConformanceReport): Record<string, string> {
  const failed = checks.filter(({ outcome }) => outcome === 'FAILED');
  return Object.fromEntries(
    failed.map(({ name, failure }) => [name, `expected ${failure?.expected}, found ${failure?.found}`]),
  );
}

const [honest, ...liars] = BROKEN_NODES as [BrokenNode, ...BrokenNode[]];

test('a node behind somebody who passes everything on passes every check', { timeout: 240_000 }, async () => {
  const report = await check(honest);
  expect(failures(report)).toEqual({});
  expect(report.summary.skipped).toBe(0);
});

describe.concurrent('the kit finds out a node that', () => {
  test.each(liars)('$name', { timeout: 240_000 }, async (broken) => {
    const report = await check(broken, broken.caughtBy);
    expect(Object.keys(failures(report)).sort()).toEqual([...broken.caughtBy].sort());
    for (const { failure, rule } of report.checks) {
      expect(rule).not.toBe('');
      expect(failure?.expected).not.toBe('the check to come to its end');
      expect(failure?.sent).toMatch(/^\w+ \{/);
      expect(failure?.received).not.toBe('');
    }
  });
});

test('there are enough of them, and each is caught by a check of its own or more', () => {
  expect(liars.length).toBeGreaterThanOrEqual(16);
  for (const { name, caughtBy } of liars) expect(checksNamed(caughtBy), name).toHaveLength(caughtBy.length);
});
