import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import type { AddressInfo, Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHECKS } from '../../src/conformance/registry.js';
import { type ConformanceReport, conformanceReportSchema } from '../../src/conformance/report.js';
import { steward } from '../cli/steward-command.js';
import { type NodeProcess, startNode } from '../node/node-process.js';
import { creation, finish, listed } from '../node/region-operations.js';
import { makeAuthority, tlsEnvironment } from '../support/certificates.js';
import { temporaryDirectory } from '../support/guard.js';
import { freePort } from '../support/ports.js';

let home: ReturnType<typeof temporaryDirectory>;
beforeAll(() => {
  home = temporaryDirectory('conformance');
});
afterAll(() => home.remove());

async function conformance(...args: string[]): Promise<{ code: number | null; report: ConformanceReport }> {
  const { code, document } = await steward(['conformance', '--json', ...args]);
  return { code, report: conformanceReportSchema.parse(document()) };
}

function withOutcome({ checks }: ConformanceReport, outcome: 'FAILED' | 'SKIPPED'): string[] {
  return checks.filter((check) => check.outcome === outcome).map(({ name }) => name);
}

/** Restarts the node when it is called for; answers the command that calls. */
async function restartedBy(node: NodeProcess): Promise<{ command: string; server: Server }> {
  const server = createServer((_request, response) => {
    node.restart().then(
      () => response.end(),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const call = `fetch('http://127.0.0.1:${port}').then((answer) => process.exit(answer.ok ? 0 : 1))`;
  return { command: `"${process.execPath}" -e "${call}"`, server };
}

test('there are at least 40 checks, each with a name and a rule of its own', () => {
  expect(CHECKS.length).toBeGreaterThanOrEqual(40);
  expect(new Set(CHECKS.map(({ name }) => name)).size).toBe(CHECKS.length);
  for (const { name, rule } of CHECKS) {
    expect(name).toMatch(/^[a-z-]+\/[a-z0-9-]+$/);
    expect(rule, name).toMatch(/^[^\n]{20,140}$/);
  }
});

describe.each(['disk', 'ledger'])('the reference node with --regions %s', (regions) => {
  test('passes every check, none is skipped, and its regions are what they were', {
    timeout: 120_000,
  }, async () => {
    const port = await freePort();
    const node = await startNode({ flags: ['--listen', `127.0.0.1:${port}`, '--regions', regions] });
    const { command, server } = await restartedBy(node);
    try {
      const mine = randomUUID();
      expect(await finish(node, creation(7, { catalogId: mine }))).toEqual(['SUCCESS']);
      const { code, report } = await conformance('--target', node.url, '--restart-command', command);
      expect(report.checks.filter(({ outcome }) => outcome === 'FAILED')).toEqual([]);
      expect(withOutcome(report, 'SKIPPED')).toEqual([]);
      expect(report.checks.flatMap(({ leftBehind = [] }) => leftBehind)).toEqual([]);
      expect(report.summary).toEqual({ passed: CHECKS.length, failed: 0, skipped: 0, knownFailing: 0 });
      expect(report.conforms).toBe(true);
      expect(report.node).toMatchObject({ nodeId: node.nodeId, ledgerId: node.ledgerId });
      expect(code).toBe(0);
      expect(await listed(node)).toEqual(['7:PRESENT@1']);
      expect((await node.faults.listFaults({})).faults).toEqual([]);
    } finally {
      server.close();
      await node.end();
    }
  });
});

describe('the command', () => {
  let node: NodeProcess;
  beforeAll(async () => {
    node = await startNode({ allowFaults: false });
  });
  afterAll(() => node.end());

  test('skips what needs faults or restarts, and says why', { timeout: 120_000 }, async () => {
    const { code, report } = await conformance('--target', node.url, '--only', 'cancel', 'restart');
    expect(withOutcome(report, 'FAILED')).toEqual([]);
    const why = Object.fromEntries(report.checks.map(({ name, skippedBecause }) => [name, skippedBecause]));
    expect(why['cancel/late-after-success']).toBeUndefined();
    expect(why['cancel/of-a-deletion']).toMatch(/does not have the capability faults/);
    expect(why['restart/ends-survive']).toMatch(/not told how to restart/);
    expect(why['restart/before-the-reply']).toMatch(/faults; the kit was not told/);
    expect(report.summary.skipped).toBe(18);
    expect(code).toBe(0);
    const { stdout } = await steward(['conformance', '--target', node.url, '--only', 'cancel']);
    expect(stdout).toMatch(/ {2}ok {4}late-after-success\n/);
    expect(stdout).toMatch(/ {2}skip {2}of-a-deletion: the node does not have the capability faults\n/);
    expect(stdout).toMatch(/\n6 checks: 3 passed, 3 skipped \([\d.]+s\)\n$/);
  });

  test('runs the checks and groups that are asked for, in order, and writes JUnit XML', async () => {
    const junit = join(home.path, 'junit.xml');
    const only = ['batches/of-none', 'identity', 'cancel/of-a-deletion'];
    const { code, report } = await conformance('--target', node.url, '--junit', junit, '--only', ...only);
    expect(report.checks.map(({ name }) => name)).toEqual([
      'identity/is-told',
      'identity/another-node-is-refused',
      'identity/another-ledger-is-refused',
      'identity/nobody-is-refused',
      'batches/of-none',
      'cancel/of-a-deletion',
    ]);
    expect(code).toBe(0);
    const xml = readFileSync(junit, 'utf8');
    const cases = [...xml.matchAll(/<testcase name="([^"]+)"/g)].map(([, name]) => name);
    expect(cases).toEqual(report.checks.map(({ name }) => name));
    expect([...xml.matchAll(/<testsuite [^>]*name="([^"]+)"/g)].map(([, name]) => name)).toEqual([
      'identity',
      'batches',
      'cancel',
    ]);
    expect(xml.match(/<skipped\b/g)).toHaveLength(1);
    expect(xml).not.toContain('<failure');
  });

  test('a check that is known to fail and passes is an error', async () => {
    const list = join(home.path, 'known-failing');
    writeFileSync(list, '# fails here\nidentity/is-told # soon\n\ncancel/of-a-deletion\n');
    const args = ['--target', node.url, '--only', 'identity', 'cancel', '--known-failing', list];
    const { code, report } = await conformance(...args);
    expect(report).toMatchObject({ conforms: false, unexpectedlyPassed: ['identity/is-told'] });
    expect(code).toBe(1);
    const { stdout } = await steward(['conformance', ...args]);
    expect(stdout).toContain('identity/is-told passes: take it off the known-failing list\n');
  });

  test('a restart command that does not kill the node, or fails, is told as what it is', {
    timeout: 120_000,
  }, async () => {
    const found = async (command: string) => {
      const args = ['--target', node.url, '--only', 'restart/same-node', '--restart-command', command];
      const { code, report } = await conformance(...args);
      expect(code).toBe(1);
      return report.checks[0]!.failure!.found;
    };
    expect(await found('true')).toContain('the node was not killed');
    expect(await found('echo no such node; exit 3')).toBe('the restart command ended with 3: no such node');
  });

  test('--list shows names, rules and needs, and asks no node', async () => {
    const { code, document } = await steward(['conformance', '--list', '--json', '--only', 'epochs']);
    expect(code).toBe(0);
    const { checks } = document() as { checks: unknown[] };
    expect(checks).toHaveLength(CHECKS.filter(({ group }) => group === 'epochs').length);
    expect(checks[0]).toEqual({
      name: 'epochs/older-after-newer',
      group: 'epochs',
      rule: expect.stringMatching(/^I9: /),
      needs: ['regions'],
    });
    const { stdout } = await steward(['conformance', '--list']);
    for (const { group } of CHECKS)
      expect(stdout).toContain(`\n${group}\n`.slice(group === 'identity' ? 1 : 0));
  });

  test.each([
    [[], '--target <url>'],
    [['--target', 'nowhere'], '--target must be an http or https URL'],
    [['--target', 'http://127.0.0.1:1', '--only', 'frob'], 'there is no check and no group of this name'],
    [
      ['--target', 'http://127.0.0.1:1', '--known-failing', '/nonexistent'],
      '/nonexistent cannot be read: ENOENT',
    ],
    [
      ['--target', 'http://127.0.0.1:1', '--junit', '/nonexistent/x'],
      '/nonexistent/x cannot be written: ENOENT',
    ],
    [['--target', 'http://127.0.0.1:1', '--tls-ca', '/nonexistent'], 'STEWARD_TLS_CA'],
  ])('steward conformance %j: one clear line, exit code 2', async (args, named) => {
    const { code, stdout, stderr } = await steward(['conformance', ...args]);
    expect(stderr).toContain(named);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });

  test('a target that is away is one clear line and exit code 1', async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const { code, stderr, document } = await steward(['conformance', '--target', url, '--json']);
    expect(document()).toMatchObject({ error: { code: 'UNAVAILABLE' } });
    expect(stderr).toMatch(new RegExp(`^steward: ${url} cannot be reached: .*\n$`));
    expect(code).toBe(1);
  });

  test('a target that is no node is one clear line and exit code 2', async () => {
    const servers = [
      createServer((_request, response) => response.end('hello')),
      createHttp2Server((_request, response) => response.writeHead(404).end()),
    ];
    for (const server of servers) {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const { code, stdout, stderr } = await steward(['conformance', '--target', url]);
      expect(stderr).toMatch(
        new RegExp(`^steward: what answers at ${url} is no node of the worker contract: .*\n$`),
      );
      expect(stdout).toBe('');
      expect(code).toBe(2);
      server.close();
    }
  });
});

test('a node with TLS and tokens is checked with a CA, a certificate and a token', {
  timeout: 120_000,
}, async () => {
  const authority = await makeAuthority();
  const tls = tlsEnvironment(join(home.path, 'tls'), await authority.issue());
  const token = join(home.path, 'token');
  writeFileSync(token, `${'t'.repeat(40)}\n`);
  const { STEWARD_TLS_CERT: cert, STEWARD_TLS_KEY: key, STEWARD_TLS_CA: ca } = tls as Record<string, string>;
  const ours = ['--tls-cert', cert!, '--tls-key', key!, '--tls-ca', ca!, '--token-file', token];
  const node = await startNode({ flags: [...ours, '--tls-client-auth', 'require'] });
  try {
    const target = ['--target', node.url, '--only', 'identity', 'wire', 'duplicates'];
    const { code, report } = await conformance(...target, ...ours);
    expect(withOutcome(report, 'FAILED')).toEqual([]);
    expect(code).toBe(0);
    const stranger = await steward(['conformance', ...target, '--tls-ca', ca!]);
    expect(stranger.stderr).toContain('does not let us in');
    expect(stranger.code).toBe(2);
  } finally {
    await node.end();
  }
});
