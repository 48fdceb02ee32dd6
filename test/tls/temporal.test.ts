import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { migrateCatalog } from '../../src/catalog/catalog.js';
import { temporalConfig } from '../../src/temporal/connection.js';
import { reaching } from '../../src/temporal/reaching.js';
import { steward as command } from '../cli/steward-command.js';
import { openTestCatalog } from '../support/catalog.js';
import { type Authority, type Issued, makeAuthority } from '../support/certificates.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { startProgram, type TestProcess } from '../support/processes.js';
import { startTemporal, type TestTemporal } from '../support/temporal.js';
import { startKeyedProxy, startTlsProxy, type TlsProxy } from '../support/tls-proxy.js';

/** A Temporal behind TLS, told by the standard configuration: variables, or a file with a profile. */

const API_KEY = 'planted-api-key-of-the-test';
const NAMESPACE = 'behind-tls';

let home: ReturnType<typeof temporaryDirectory>;
let authority: Authority;
let own: Issued;
let temporal: TestTemporal;
let database: TestDatabase;
let proxy: TlsProxy;
/** Of mTLS. */
let trusted: Record<string, string>;

beforeAll(async () => {
  home = temporaryDirectory('temporal-tls');
  authority = await makeAuthority('temporal CA');
  own = await authority.issue({ hosts: ['steward-worker'] });
  [temporal, database] = await Promise.all([startTemporal(), createDatabase()]);
  const catalog = openTestCatalog(database.url, 1);
  await migrateCatalog(catalog);
  await catalog.destroy();
  await temporal.connection.workflowService.registerNamespace({
    namespace: NAMESPACE,
    workflowExecutionRetentionPeriod: { seconds: 86_400 as never },
  });
  await eventually('the namespace', async () => {
    await temporal.connection.workflowService.describeNamespace({ namespace: NAMESPACE });
    return true;
  });
  const { cert, key } = await authority.issue();
  proxy = await startTlsProxy(temporal.address, {
    cert,
    key,
    ca: authority.cert,
    requestCert: true,
    rejectUnauthorized: true,
  });
  trusted = {
    TEMPORAL_ADDRESS: proxy.address,
    TEMPORAL_TLS_SERVER_CA_CERT_PATH: file('ca.pem', authority.cert),
    TEMPORAL_TLS_CLIENT_CERT_PATH: file('cert.pem', own.cert),
    TEMPORAL_TLS_CLIENT_KEY_PATH: file('key.pem', own.key),
  };
});
afterAll(async () => {
  await proxy?.close();
  await database?.drop();
  await temporal?.stop();
  await home.remove();
});

function file(name: string, content: string): string {
  const path = join(home.path, name);
  writeFileSync(path, content);
  return path;
}

const common = () => ({
  DATABASE_URL: database.url,
  TEMPORAL_NAMESPACE: NAMESPACE,
  TEMPORAL_CONFIG_FILE: '/nonexistent/temporal.toml',
});

function cli(args: readonly string[], env: Record<string, string | undefined>) {
  return command(args, { env: { ...common(), STEWARD_COORDINATOR_URL: 'http://127.0.0.1:1', ...env } });
}

function start(name: string, program: string, env: Record<string, string | undefined>, args: string[] = []) {
  return startProgram({ name, program, args, env: { ...common(), ...env }, directory: home.path });
}

/** Runs `work` beside a worker and a coordinator that reach Temporal by these variables. */
async function besideProcesses(
  env: Record<string, string | undefined>,
  work: (coordinatorUrl: string) => Promise<void>,
) {
  const running: TestProcess[] = [];
  try {
    running.push(await start('coordinator', 'src/coordinator/main.ts', env, ['--listen=127.0.0.1:0']));
    running.push(await start('worker', 'src/worker/main.ts', env));
    await work(String(running[0]!.ready['url']));
  } finally {
    for (const one of running) await one.stop();
  }
}

/** A workflow through worker and CLI: it fails, by what the catalog says. */
async function workflowRuns(env: Record<string, string | undefined>, coordinatorUrl: string): Promise<void> {
  const swept = await cli(['sweep', 'run', '--json'], { ...env, STEWARD_COORDINATOR_URL: coordinatorUrl });
  expect(swept).toMatchObject({ code: 0 });
}

/** As every process does it, here. */
async function connecting(env: Record<string, string | undefined>): Promise<void> {
  vi.stubEnv('TEMPORAL_CONFIG_FILE', '/nonexistent/temporal.toml');
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
  const { connectionOptions } = temporalConfig();
  vi.unstubAllEnvs();
  const connection = await reaching(connectionOptions, () =>
    Connection.connect({ ...connectionOptions, connectTimeout: '1s' }),
  );
  await connection.close();
}

describe('TLS with client certificates', () => {
  test('set-up, worker, coordinator and CLI come through with certificates of the CA', async () => {
    await besideProcesses(trusted, (url) => workflowRuns(trusted, url));
    expect([...proxy.callers]).toEqual(['steward-worker']);
  });

  test('the same from a file with a profile, and the name of the server from there', async () => {
    const profile = file(
      'temporal.toml',
      `[profile.production]
address = "${proxy.address.replace('localhost', '127.0.0.1')}"
namespace = "${NAMESPACE}"
[profile.production.tls]
server_ca_cert_path = "${trusted['TEMPORAL_TLS_SERVER_CA_CERT_PATH']}"
client_cert_path = "${trusted['TEMPORAL_TLS_CLIENT_CERT_PATH']}"
client_key_path = "${trusted['TEMPORAL_TLS_CLIENT_KEY_PATH']}"
server_name = "localhost"
`,
    );
    const env = {
      TEMPORAL_CONFIG_FILE: profile,
      TEMPORAL_PROFILE: 'production',
      TEMPORAL_NAMESPACE: undefined,
    };
    expect(await cli(['setup'], env)).toMatchObject({ code: 0 });
  });

  test('who does not trust the server, or is not trusted, is told why in one line', async () => {
    const stranger = await (await makeAuthority('another CA')).issue();
    const ca = 'TEMPORAL_TLS_SERVER_CA_CERT_PATH';
    const cert = 'TEMPORAL_TLS_CLIENT_CERT_PATH';
    const key = 'TEMPORAL_TLS_CLIENT_KEY_PATH';
    const cases: readonly [string, Record<string, string | undefined>][] = [
      [`a CA that is not believed here: ${ca} must name its CA`, { [ca]: file('other-ca.pem', stranger.ca) }],
      [`${ca} must name its CA`, { [ca]: undefined }],
      ['it asks for a certificate, and was shown none', { [cert]: undefined, [key]: undefined }],
      [
        'it hangs up after the TLS handshake, as one does that does not believe the certificate that it was shown',
        { [cert]: file('other-cert.pem', stranger.cert), [key]: file('other-key.pem', stranger.key) },
      ],
      ['for another host name', { TEMPORAL_TLS_SERVER_NAME: 'temporal.example' }],
      ['it speaks TLS: say TEMPORAL_TLS=true', { [ca]: undefined, [cert]: undefined, [key]: undefined }],
      ['it speaks plain text: leave TEMPORAL_TLS away', { TEMPORAL_ADDRESS: temporal.address }],
    ];
    for (const [why, changes] of cases)
      await expect(connecting({ ...trusted, ...changes }), why).rejects.toThrow(why);
    const [[why, changes]] = cases as [(typeof cases)[number]];
    await expect(
      start('mistrusting-worker', 'src/worker/main.ts', { ...trusted, ...changes }),
    ).rejects.toThrow();
    expect(readFileSync(join(home.path, 'mistrusting-worker.log'), 'utf8')).toContain(why);
    const { code, stderr } = await cli(['schedule', 'list'], { ...trusted, ...changes });
    expect(code).toBe(2);
    expect(stderr).toContain(why);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });
});

describe('an API key', () => {
  test('lets set-up, worker, coordinator and CLI in, and is told to nobody; without it they are refused', async () => {
    const { cert, key } = await authority.issue();
    const keyed = await startKeyedProxy(temporal.address, new Set([API_KEY]), { cert, key });
    const env = {
      TEMPORAL_ADDRESS: keyed.address,
      TEMPORAL_TLS_SERVER_CA_CERT_PATH: trusted['TEMPORAL_TLS_SERVER_CA_CERT_PATH'],
      TEMPORAL_API_KEY: API_KEY,
    };
    try {
      expect(await cli(['setup'], env)).toMatchObject({ code: 0 });
      await besideProcesses(env, (url) => workflowRuns(env, url));
      const wrong = { ...env, TEMPORAL_API_KEY: 'another-planted-api-key' };
      const refused = await cli(['schedule', 'list'], wrong);
      expect(refused.stderr).toContain('refuses these credentials: this API key is not known');
      expect(refused.code).toBe(2);
      await expect(start('refused-worker', 'src/worker/main.ts', wrong)).rejects.toThrow();
      const log = readFileSync(join(home.path, 'refused-worker.log'), 'utf8');
      expect(log).toContain('this API key is not known');
      const logs = ['worker', 'coordinator'].map((name) =>
        readFileSync(join(home.path, `${name}.log`), 'utf8'),
      );
      for (const text of [log, refused.stderr, ...logs]) {
        expect(text).not.toContain(API_KEY);
        expect(text).not.toContain('another-planted-api-key');
      }
    } finally {
      await keyed.close();
    }
  });
});
