import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { stewardProgram } from '../../src/cli/run.js';
import { freePort } from '../support/ports.js';
import { steward } from './steward-command.js';

/** Command lines that say nothing sensible, and what the one line on stderr names. */
const NONSENSE: [string, string][] = [
  ['frob', "unknown command 'frob'"],
  ['region-group frob', "unknown command 'frob'"],
  ['node list --frob', "unknown option '--frob'"],
  ['region-group create sales', '--kind'],
  ['region-group create sales --kind blob --groups 1', 'data or schema'],
  ['region-group create sales --kind data --groups 0', 'from 1 to 1000'],
  ['region-group create sales --kind data --groups 1.5', 'from 1 to 1000'],
  ['region-group create sales --kind data --groups 1 --replication 10', 'from 1 to 9'],
  ['region-group create sales --kind data --groups 1 --timeout soon', '20s'],
  ['region-group create sales --kind data --groups 1 --timeout 1s --no-wait', 'cannot be used with'],
  ['region-group remove', "missing required argument 'id'"],
  ['region-group remove seven', 'Expected a whole number'],
  ['region-group remove -- -1', 'Expected a whole number'],
  ['region-group show 99999999999999999999', 'Expected a whole number'],
  ['database create', "missing required argument 'name'"],
  ['database create sales --data-groups many', 'from 0 to 1000'],
  ['node fault node-1', '--rpc <name> or --effect <name>'],
  ['node fault node-1 --rpc Submit', 'say how'],
  ['node fault node-1 --rpc Frob --delay 1s', 'give one of Submit, Get, Cancel, ListRegions'],
  ['node fault node-1 --rpc GetNodeInfo --delay 1s', 'cannot be disturbed'],
  ['node fault node-1 --effect frob --delay 1s', 'delete-region'],
  ['node fault node-1 --rpc Submit --error sometimes', 'give one of canceled, unknown'],
  ['node fault node-1 --rpc Get --busy', '--busy needs --rpc Submit'],
  ['node kill', "missing required argument 'node'"],
  ['node kill node-1 --restart-after soon', '20s'],
  ['node pause node-1 --restart-after 1s', "unknown option '--restart-after'"],
  ['node fault node-1 --rpc Submit --effect create-region --delay 1s', 'cannot be used with'],
  ['node fault node-1 --rpc Submit --delay 1s --duplicate', 'one fault at a time'],
  ['node fault node-1 --effect create-region --busy 1s', '--delay or --fail'],
  ['node fault node-1 --clear --list', 'stand alone'],
  ['local start --ui-port 70000', 'from 1 to 65535'],
];

test.each(NONSENSE)('steward %s: one clear line, exit code 2', async (line, named) => {
  const { code, stdout, stderr } = await steward(line.split(' '));
  expect(stderr).toContain(named);
  expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  expect(stdout).toBe('');
  expect(code).toBe(2);
});

test('with --json the error is the document on stdout', async () => {
  const { code, stderr, document } = await steward(['region-group', 'remove', 'seven', '--json']);
  expect(document()).toEqual({
    error: { code: 'INVALID_INPUT', message: expect.stringContaining('Expected a whole number') },
  });
  expect(stderr).toMatch(/^steward: .*\n$/);
  expect(code).toBe(2);
});

test('a command that is missing shows the help on stderr, exit code 2', async () => {
  const { code, stdout, stderr } = await steward(['region-group']);
  expect(stderr).toContain('Usage: steward region-group');
  expect(stdout).toBe('');
  expect(code).toBe(2);
});

test('every command has a description, and its help an example of itself', async () => {
  const leaves = leavesOf(stewardProgram());
  expect(leaves.length).toBeGreaterThan(15);
  const helps = await Promise.all(leaves.map((path) => steward([...path, '--help'])));
  for (const [index, { code, stdout, stderr }] of helps.entries()) {
    const path = leaves[index]!.join(' ');
    expect(stdout, path).toMatch(new RegExp(`^Usage: steward ${path} `));
    expect(stdout, path).toContain(`$ steward ${path}`);
    expect(stderr, path).toBe('');
    expect(code, path).toBe(0);
  }
}, 60_000);

test('help and usage errors load neither Temporal nor a database driver', async () => {
  const hook = fileURLToPath(new URL('loaded-modules.cjs', import.meta.url));
  for (const args of [
    ['--help'],
    ['region-group', 'create', '--help'],
    ['region-group', 'remove', 'x'],
    ['--version'],
  ]) {
    const { stderr } = await steward(args, { nodeFlags: ['--require', hook] });
    const loaded = JSON.parse(/LOADED (.*) of/.exec(stderr)![1]!) as string[];
    expect(loaded).toContain('commander');
    expect(
      loaded.filter((name) => /^@temporalio|^@grpc|^@opentelemetry|^pg$|^protobufjs$/.test(name)),
      args.join(' '),
    ).toEqual([]);
  }
});

test('asking the coordinator alone does not load Temporal', async () => {
  const hook = fileURLToPath(new URL('loaded-modules.cjs', import.meta.url));
  const url = `http://127.0.0.1:${await freePort()}`;
  const { stderr } = await steward(['node', 'list', '--coordinator', url], {
    nodeFlags: ['--require', hook],
  });
  expect(stderr).toMatch(/LOADED/);
  expect(stderr).not.toMatch(/"@temporalio|"@opentelemetry/);
});

test('a command that asks Temporal is a few files, not a thousand', async () => {
  const hook = fileURLToPath(new URL('loaded-modules.cjs', import.meta.url));
  const servers = ['--coordinator', `http://127.0.0.1:${await freePort()}`];
  const temporal = ['--temporal-address', `127.0.0.1:${await freePort()}`];
  const { stderr } = await steward(['operation', 'list', ...servers, ...temporal], {
    nodeFlags: ['--require', hook],
  });
  const [, packages, files] = /LOADED (.*) of (\d+) files/.exec(stderr)!;
  expect(packages).toContain('"@temporalio/client"');
  expect(Number(files)).toBeLessThan(200);
});

test('a coordinator loads DuckDB when it first ingests, not when it starts', async () => {
  const hook = fileURLToPath(new URL('loaded-modules.cjs', import.meta.url));
  const main = fileURLToPath(new URL('../../dist/src/coordinator/main.js', import.meta.url));
  const started = promisify(execFile)(process.execPath, ['--require', hook, main, '--no-such-option']);
  const { stderr } = await started.catch((failed: { readonly stderr: string }) => failed);
  expect(stderr).toMatch(/LOADED .*"pino"/);
  expect(stderr).not.toContain('duckdb');
});

test('where no Steward runs, one line says what to do', async () => {
  const { code, stderr, stdout } = await steward(['node', 'list']);
  expect(stderr).toMatch(
    /^steward: no Steward runs here: start one with "steward local start".*--coordinator.*\n$/,
  );
  expect(stdout).toBe('');
  expect(code).toBe(1);
});

test('servers that are away are named with their address, exit code 1, and no stack trace', async () => {
  const [coordinator, temporal] = [await freePort(), await freePort()];
  const env = {
    STEWARD_COORDINATOR_URL: `http://127.0.0.1:${coordinator}`,
    TEMPORAL_ADDRESS: `127.0.0.1:${temporal}`,
  };
  const [nodes, operations] = await Promise.all([
    steward(['node', 'list', '--json'], { env }),
    steward(['operation', 'list'], { env }),
  ]);
  expect(nodes.document()).toMatchObject({ error: { code: 'UNAVAILABLE' } });
  expect(nodes.stderr).toContain(`http://127.0.0.1:${coordinator} cannot be reached`);
  expect(nodes.code).toBe(1);
  expect(operations.stderr).toBe(
    `steward: Temporal at 127.0.0.1:${temporal} cannot be reached: see whether it runs\n`,
  );
  expect(operations.code).toBe(1);
});

test('STEWARD_DEBUG shows where an error came from', async () => {
  const { stderr } = await steward(['node', 'list'], { env: { STEWARD_DEBUG: '1' } });
  expect(stderr).toMatch(/\n\s+at /);
});

test('an address that is none is bad input', async () => {
  const { code, stderr } = await steward(['node', 'list', '--coordinator', 'nowhere']);
  expect(stderr).toMatch(/^steward: coordinatorUrl: expected a URL/);
  expect(code).toBe(2);
});

function leavesOf(command: Command, path: readonly string[] = []): string[][] {
  return command.commands.flatMap((one) => {
    const here = [...path, one.name()];
    expect(one.description(), here.join(' ')).not.toBe('');
    return one.commands.length > 0 ? leavesOf(one, here) : [here];
  });
}
