import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { steward as command } from '../cli/steward-command.js';
import { makeAuthority, tlsEnvironment } from '../support/certificates.js';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { type Steward, startSteward } from '../support/steward.js';

const OLD_TOKEN = 'planted-token-that-must-not-leak-0001';
const NEW_TOKEN = 'planted-token-that-must-not-leak-0002';

let steward: Steward;
let home: ReturnType<typeof temporaryDirectory>;
let transportEnv: Record<string, string>;
/** Keys and tokens in files: none of it may turn up anywhere else. */
const secrets: string[] = [OLD_TOKEN, NEW_TOKEN];

beforeAll(async () => {
  home = temporaryDirectory('transport');
  const issued = await (await makeAuthority()).issue();
  secrets.push(...keyLines(issued.key));
  const tokenFile = `${home.path}/tokens`;
  writeFileSync(tokenFile, `${OLD_TOKEN}\n`);
  transportEnv = {
    ...tlsEnvironment(home.path, issued),
    STEWARD_TLS_CLIENT_AUTH: 'require',
    STEWARD_TOKEN_FILE: tokenFile,
    STEWARD_CREDENTIALS_POLL_MS: '50',
  };
  steward = await startSteward({ transportEnv, workerEnv: { STEWARD_LOG_LEVEL: 'debug' } });
});
afterAll(async () => {
  await steward?.stop();
  await home.remove();
});

function keyLines(pem: string): string[] {
  return pem.split('\n').filter((line) => line !== '' && !line.startsWith('-----'));
}

function cli(args: readonly string[], env: Record<string, string | undefined> = {}) {
  return command(args, {
    env: {
      ...steward.clientEnv,
      ...transportEnv,
      ...env,
    },
  });
}

function logs(): string {
  const processes = [steward.coordinator, steward.worker, ...steward.nodes];
  return processes.map(({ logFile }) => readFileSync(logFile, 'utf8')).join('\n');
}

test('a database is made and removed over mTLS with a token, by the CLI and on the disks', async () => {
  await steward.nodesAlive();
  const created = await cli(['database', 'create', 'sales', '--data-groups', '2', '--schema-groups', '1']);
  expect(created).toMatchObject({ code: 0 });
  for (const { name } of steward.nodes) expect(steward.regionsOnDisk(name)).toHaveLength(3);
  const removed = await cli(['region-group', 'remove', String(steward.regionsOnDisk('node-1')[0])]);
  expect(removed).toMatchObject({ code: 0 });
  const fault = await cli(['node', 'fault', 'node-1', '--list', '--json']);
  expect(fault.document()).toEqual({ nodeId: 'node-1', faults: [] });
  const deleted = await cli(['database', 'delete', 'sales']);
  expect(deleted).toMatchObject({ code: 0 });
  for (const { name } of steward.nodes) expect(steward.regionsOnDisk(name)).toEqual([]);
});

test('the CLI says in one line why it is not let in, or does not trust, and exits with 2', async () => {
  const wrongToken = `${home.path}/wrong-token`;
  writeFileSync(wrongToken, 'another-planted-token-of-the-caller\n');
  secrets.push('another-planted-token-of-the-caller');
  const other = await makeAuthority('another CA');
  const cases: readonly [string, Record<string, string | undefined>][] = [
    ['no token', { STEWARD_TOKEN_FILE: undefined }],
    ['no token', { STEWARD_TOKEN_FILE: wrongToken }],
    [
      'showed no certificate',
      { STEWARD_TLS_CLIENT_AUTH: undefined, STEWARD_TLS_CERT: undefined, STEWARD_TLS_KEY: undefined },
    ],
    ['a CA that is not believed', tlsEnvironment(`${home.path}/other`, await other.issue())],
    ['STEWARD_TLS_CERT and STEWARD_TLS_KEY belong together', { STEWARD_TLS_KEY: undefined }],
    ['cannot be used: cannot be read (ENOENT)', { STEWARD_TOKEN_FILE: OLD_TOKEN }],
  ];
  for (const [why, env] of cases) {
    const { code, stderr } = await cli(['node', 'list'], env);
    expect(stderr).toContain(why);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(code).toBe(2);
    for (const secret of secrets) expect(stderr).not.toContain(secret);
  }
});

test('a node that does not know the token is the blocker that operators see, and is driven on when it does', async () => {
  const node = steward.node('node-2');
  const file = `${home.path}/node-2-tokens`;
  const own = 'planted-token-that-only-node-2-takes';
  secrets.push(own);
  // It sends what the coordinator takes and accepts nothing that the worker sends.
  writeFileSync(file, `${own}\n`);
  const [group] = await steward.database('stuck', 1);
  await node.restart({ env: { STEWARD_TOKEN_FILE: file } });
  const removal = await steward.client.regionGroups.remove({ groups: [group!] });
  const blocker = await eventually('the blocker names the token', async () => {
    const { blockers } = await steward.client.operations.get(removal.operationId);
    return blockers.find((text) => text.includes('no token'));
  });
  expect(blocker).toContain('node-2');
  expect(steward.regionsOnDisk('node-2')).toEqual([group]);
  writeFileSync(file, `${OLD_TOKEN}\n`);
  expect(await removal.result()).toBeDefined();
  expect(steward.regionsOnDisk('node-2')).toEqual([]);
  await node.restart({ env: { STEWARD_TOKEN_FILE: transportEnv['STEWARD_TOKEN_FILE'] } });
});

test('token, certificates and CA are rotated in all processes while they run', async () => {
  await steward.nodesAlive();
  const pids = [steward.coordinator, steward.worker, ...steward.nodes].map(({ pid }) => pid);
  const taken = (what: string) =>
    eventually(`every process took ${what}`, () =>
      [steward.coordinator, steward.worker, ...steward.nodes].every(({ logFile }) =>
        readFileSync(logFile, 'utf8')
          .split('\n')
          .some((line) => line.includes(what)),
      ),
    );
  // Both are accepted before the new one is sent, and until nobody sends the old one.
  const tokens = transportEnv['STEWARD_TOKEN_FILE']!;
  writeFileSync(tokens, `${OLD_TOKEN}\n${NEW_TOKEN}\n`);
  await taken('"tokens":2');
  writeFileSync(tokens, `${NEW_TOKEN}\n`);
  await taken('"tokens":1');
  // The same with the CA: both are believed, then the certificates are of the new one, then it alone is.
  const old = readFileSync(transportEnv['STEWARD_TLS_CA']!, 'utf8');
  const issued = await (await makeAuthority('next CA')).issue();
  secrets.push(...keyLines(issued.key));
  const changes = () => logs().split('changed and are in use').length;
  for (const step of [
    () => writeFileSync(transportEnv['STEWARD_TLS_CA']!, `${old}${issued.ca}`),
    () => tlsEnvironment(home.path, { ...issued, ca: `${old}${issued.ca}` }),
    () => tlsEnvironment(home.path, issued),
  ]) {
    const before = changes();
    step();
    await eventually('every process took it', () => changes() >= before + pids.length);
  }
  await steward.nodesAlive();
  const created = await cli(['database', 'create', 'rotated', '--data-groups', '1']);
  expect(created).toMatchObject({ code: 0 });
  const [group] = steward.regionsOnDisk('node-3');
  expect(await cli(['region-group', 'remove', String(group)])).toMatchObject({ code: 0 });
  expect(steward.regionsOnDisk('node-3')).toEqual([]);
  expect([steward.coordinator, steward.worker, ...steward.nodes].map(({ pid }) => pid)).toEqual(pids);
});

test('no token and no key is in any log or history', async () => {
  const histories: string[] = [];
  for await (const { workflowId } of steward.temporal.client.workflow.list()) {
    const history = await steward.temporal.client.workflow.getHandle(workflowId).fetchHistory();
    histories.push(Buffer.from(JSON.stringify(history)).toString());
  }
  expect(histories.length).toBeGreaterThan(3);
  const everything = logs() + histories.join('\n');
  expect(everything).toContain('changed and are in use');
  for (const secret of secrets) expect(everything.includes(secret), secret).toBe(false);
});
