import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { steward as command, type Ended } from '../cli/steward-command.js';
import { makeAuthority, tlsEnvironment } from '../support/certificates.js';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { allHistories, spelledOut } from '../support/histories.js';
import { freePort } from '../support/ports.js';
import { startProgram, type TestProcess } from '../support/processes.js';
import { type Steward, startSteward } from '../support/steward.js';
import { startKeyedProxy } from '../support/tls-proxy.js';

/**
 * A whole stack with secrets planted in every setting that takes one. What goes wrong with them says so everywhere, and none
 * of them is anywhere.
 */

const TOKEN = 'planted-token-of-the-control-plane';
const WRONG_TOKEN = 'planted-token-that-nobody-accepts';
const WRONG_PASSWORD = 'planted-database-password';
const API_KEY = 'planted-temporal-api-key';
const WRONG_API_KEY = 'planted-temporal-api-key-of-nobody';
const PAYLOAD_KEY = randomBytes(32).toString('base64');
/** Says nothing of itself, and must not be seen where payloads are encrypted. */
const DATABASE = 'planteddomain';

let steward: Steward;
let home: ReturnType<typeof temporaryDirectory>;
let transportEnv: Record<string, string>;
const secrets: string[] = [TOKEN, WRONG_TOKEN, WRONG_PASSWORD, API_KEY, WRONG_API_KEY, PAYLOAD_KEY];
/** What commands and processes said, by what it is. */
const said = new Map<string, string>();
const others: TestProcess[] = [];

beforeAll(async () => {
  home = temporaryDirectory('secrets');
  const issued = await (await makeAuthority()).issue();
  // A line from the middle of the key: the first one is the same for all keys of the curve.
  secrets.push(issued.key.split('\n')[2]!);
  transportEnv = {
    ...tlsEnvironment(home.path, issued),
    STEWARD_TLS_CLIENT_AUTH: 'require',
    STEWARD_TOKEN_FILE: file('token', `${TOKEN}\n`),
    STEWARD_PAYLOAD_KEYS_FILE: file('payload-keys', `2026-01 ${PAYLOAD_KEY}\n`),
    STEWARD_CREDENTIALS_POLL_MS: '50',
    STEWARD_LOG_LEVEL: 'debug',
  };
  const metrics = { STEWARD_METRICS_LISTEN: `127.0.0.1:${await freePort()}` };
  const coordinatorMetrics = { STEWARD_METRICS_LISTEN: `127.0.0.1:${await freePort()}` };
  // The dev server takes no API key, and ignores the one that it is shown.
  const apiKey = { TEMPORAL_API_KEY: API_KEY, TEMPORAL_TLS: 'false' };
  steward = await startSteward({
    nodes: 2,
    transportEnv,
    workerEnv: { ...apiKey, ...metrics },
    coordinatorEnv: { ...apiKey, ...coordinatorMetrics },
  });
  const { password } = new URL(steward.databaseUrl);
  expect(password.length).toBeGreaterThan(8);
  secrets.push(password);
});
afterAll(async () => {
  for (const one of others) await one.stop();
  await steward?.stop();
  await home.remove();
});

function file(name: string, content: string): string {
  const path = join(home.path, name);
  writeFileSync(path, content);
  return path;
}

async function cli(args: readonly string[], env: Record<string, string | undefined> = {}): Promise<Ended> {
  const ended = await command(args, {
    env: {
      ...steward.clientEnv,
      DATABASE_URL: steward.databaseUrl,
      TEMPORAL_API_KEY: API_KEY,
      TEMPORAL_TLS: 'false',
      STEWARD_DEBUG: '1',
      ...transportEnv,
      ...env,
    },
  });
  said.set(`${said.size} ${args.join(' ')}`, `${ended.stdout}\n${ended.stderr}`);
  return ended;
}

/** A process that does not come up. */
async function doomed(
  name: string,
  program: string,
  env: Record<string, string | undefined>,
): Promise<string> {
  const common = {
    DATABASE_URL: steward.databaseUrl,
    TEMPORAL_ADDRESS: steward.temporalAddress,
    ...transportEnv,
  };
  await expect(
    startProgram({ name, program, env: { ...common, ...env }, directory: home.path }).then((one) =>
      others.push(one),
    ),
  ).rejects.toThrow();
  const log = readFileSync(join(home.path, `${name}.log`), 'utf8');
  said.set(name, log);
  return log;
}

test('operations of all kinds, those that work and those that fail', async () => {
  await steward.nodesAlive();
  const flags = ['--data-groups', '2', '--replication', '2', '--json'];
  expect(await cli(['database', 'create', DATABASE, ...flags])).toMatchObject({ code: 0 });
  expect(await cli(['sweep', 'run', '--json'])).toMatchObject({ code: 0 });
  await steward.client.optimizerGroups.create({ name: `${DATABASE}-merging` });
  await (await steward.client.heals.run()).result();
  expect(await cli(['doctor', '--json'])).toMatchObject({
    stdout: expect.stringContaining('search attributes'),
  });
  expect((await cli(['region-group', 'remove', '999999', '--json'])).code).not.toBe(0);
  const missing = await steward.client.regionGroups.create({
    database: `${DATABASE}-missing`,
    kind: 'DATA',
    groups: 1,
    replicationFactor: 1,
  });
  await expect(missing.result()).rejects.toThrow(`${DATABASE}-missing`);
});

test('a node that cannot be reached, and one that believes another token', async () => {
  const blocked = (operationId: string, by: string) =>
    eventually(`${by} is the blocker`, async () => {
      const { blockers } = await steward.client.operations.get(operationId);
      return blockers.some((text) => text.includes(by));
    });
  const [group] = steward.regionsOnDisk('node-2');
  await steward.node('node-2').kill();
  const removal = await steward.client.regionGroups.remove({ groups: [group!] });
  const { operationId } = removal;
  await blocked(operationId, 'node-2 does not answer');
  const own = file('token-of-node-2', `${WRONG_TOKEN}\n`);
  await steward.node('node-2').restart({ env: { STEWARD_TOKEN_FILE: own } });
  await blocked(operationId, 'no token');
  expect((await cli(['operation', 'show', operationId, '--json'])).stdout).toContain('no token');
  writeFileSync(own, `${TOKEN}\n`);
  await removal.result();
});

test('wrong credentials of every kind are refused, and say so', async () => {
  const wrong = new URL(steward.databaseUrl);
  wrong.password = WRONG_PASSWORD;
  for (const program of ['src/coordinator/main.ts', 'src/worker/main.ts']) {
    const log = await doomed(`wrong-password-${program.split('/')[1]}`, program, {
      DATABASE_URL: wrong.href,
    });
    expect(log).toContain('password authentication failed');
  }
  const setup = await cli(['setup'], { DATABASE_URL: wrong.href });
  expect(setup.code).not.toBe(0);
  const noUrl = await doomed('no-url', 'src/coordinator/main.ts', {
    DATABASE_URL: `mysql://steward:${WRONG_PASSWORD}@127.0.0.1/steward`,
  });
  expect(noUrl).toContain('DATABASE_URL');
  const unreachable = new URL(wrong);
  unreachable.port = '1';
  await doomed('no-database', 'src/coordinator/main.ts', { DATABASE_URL: unreachable.href });

  const refused = await cli(['node', 'list'], { STEWARD_TOKEN_FILE: file('wrong-token', WRONG_TOKEN) });
  expect(refused.stderr).toContain('no token');
  // Secrets given where a path belongs.
  for (const variable of ['STEWARD_TOKEN_FILE', 'STEWARD_PAYLOAD_KEYS_FILE', 'STEWARD_TLS_CA'])
    expect((await cli(['schedule', 'list'], { [variable]: WRONG_TOKEN })).code, variable).toBe(2);
  expect(
    await doomed('no-keys', 'src/worker/main.ts', {
      STEWARD_PAYLOAD_KEYS_FILE: file('bad', `x ${PAYLOAD_KEY}x`),
    }),
  ).toContain('line 1 is no key');
});

test('an API key that Temporal refuses is named by nobody', async () => {
  const { cert, key, ca } = await (await makeAuthority()).issue();
  const keyed = await startKeyedProxy(steward.temporalAddress, new Set([API_KEY]), { cert, key });
  const wrongKey = {
    TEMPORAL_ADDRESS: keyed.address,
    TEMPORAL_API_KEY: WRONG_API_KEY,
    TEMPORAL_TLS: undefined,
    TEMPORAL_TLS_SERVER_CA_CERT_PATH: file('temporal-ca.pem', ca),
  };
  try {
    const { stderr } = await cli(['schedule', 'list'], wrongKey);
    expect(stderr).toContain('this API key is not known');
    expect(await doomed('wrong-api-key', 'src/worker/main.ts', wrongKey)).toContain(
      'this API key is not known',
    );
  } finally {
    await keyed.close();
  }
});

test('no secret is in a history, a log, an output or a page; the name of the database is in no payload', async () => {
  for (const { name, ready } of [steward.worker, steward.coordinator]) {
    const page = await fetch(String(ready['metrics']));
    said.set(`metrics of ${name}`, await page.text());
  }
  for (const { name, logFile } of [steward.worker, steward.coordinator, ...steward.nodes])
    said.set(`log of ${name}`, readFileSync(logFile, 'utf8'));
  await cli(['operation', 'list', '--json']);
  const histories = await allHistories(steward.temporal.client);
  expect(histories.length).toBeGreaterThan(3);
  for (const { workflowId, json } of histories) said.set(`history of ${workflowId}`, spelledOut(json));

  expect(said.size).toBeGreaterThan(25);
  const found = [...said].flatMap(([what, text]) =>
    secrets.filter((secret) => text.includes(secret)).map((secret) => `${secret} in ${what}`),
  );
  expect(found).toEqual([]);

  const NAMES = ['workflowId', 'searchAttributes', 'header'];
  const payloads = histories.map(({ json }) =>
    spelledOut(
      JSON.stringify(JSON.parse(json, (key, value: unknown) => (NAMES.includes(key) ? undefined : value))),
    ),
  );
  expect(payloads.filter((text) => text.includes(DATABASE))).toEqual([]);
});
