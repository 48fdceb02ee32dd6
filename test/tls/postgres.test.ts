import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createClient } from '@connectrpc/connect';
import { Client } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { migrateCatalog } from '../../src/catalog/catalog.js';
import { readTransport } from '../../src/model/transport.js';
import { RpcConnection } from '../../src/rpc/connection.js';
import { Credentials } from '../../src/rpc/credentials.js';
import { CatalogService } from '../../src/rpc/gen/steward/coordinator/v1/catalog_pb.js';
import { openTestCatalog } from '../support/catalog.js';
import { type Authority, type Issued, makeAuthority } from '../support/certificates.js';
import { startPostgres, type TestPostgres } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { startProgram, type TestProcess } from '../support/processes.js';

/** PostgreSQL that takes connections over TLS alone, and of those only with a client certificate of its CA. */

let home: ReturnType<typeof temporaryDirectory>;
let authority: Authority;
let client: Issued;
let postgres: TestPostgres;
let data: string;
/** Its connection is from before TLS was asked for. */
let admin: Client;

beforeAll(async () => {
  home = temporaryDirectory('postgres-tls');
  authority = await makeAuthority('database CA');
  client = await authority.issue({ hosts: ['steward'] });
  postgres = await startPostgres();
  admin = new Client({ connectionString: postgres.url });
  await admin.connect();
  const { rows } = await admin.query<{ data: string }>("SELECT current_setting('data_directory') AS data");
  data = rows[0]!.data;
  const settings = {
    ssl_cert_file: 'tls.pem',
    ssl_key_file: 'tls-key.pem',
    ssl_ca_file: 'tls-ca.pem',
    ssl: 'on',
  };
  for (const [name, value] of Object.entries(settings))
    await admin.query(`ALTER SYSTEM SET ${name} = '${value}'`);
  serverFile('pg_hba.conf', 'hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n');
  await serve(await authority.issue(), authority.cert);
  callerFiles(client, authority.cert);
  await eventually('TLS is on', () => connects(url()));
});
afterAll(async () => {
  await admin?.end().catch(() => {});
  await postgres?.stop();
  await home.remove();
});

/** A file in PostgreSQL's directory, as it wants its files: its own, and nobody else's. */
function serverFile(name: string, content: string): void {
  const path = join(data, name);
  const { uid, gid } = statSync(data);
  writeFileSync(path, content);
  chmodSync(path, 0o600);
  chownSync(path, uid, gid);
}

/** What PostgreSQL shows and whom it believes, from the next connection on. */
async function serve({ cert, key }: Issued, ca: string): Promise<void> {
  serverFile('tls.pem', cert);
  serverFile('tls-key.pem', key);
  serverFile('tls-ca.pem', ca);
  await admin.query('SELECT pg_reload_conf()');
}

function file(name: string, content: string): string {
  const path = join(home.path, name);
  writeFileSync(path, content);
  return path;
}

function callerFiles({ cert, key }: Issued, ca: string): void {
  file('cert.pem', cert);
  file('key.pem', key);
  file('ca.pem', ca);
}

/** The URL that operators write, with changes; undefined leaves a parameter away. */
function url(changes: Record<string, string | undefined> = {}, password?: string): string {
  const made = new URL(postgres.url);
  if (password !== undefined) made.password = password;
  const parameters = {
    sslmode: 'verify-full',
    sslrootcert: join(home.path, 'ca.pem'),
    sslcert: join(home.path, 'cert.pem'),
    sslkey: join(home.path, 'key.pem'),
    ...changes,
  };
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined) made.searchParams.set(name, value);
  }
  return made.href;
}

async function connects(target: string): Promise<boolean> {
  const one = new Client({ connectionString: target });
  one.on('error', () => {});
  try {
    await one.connect();
    return true;
  } finally {
    await one.end().catch(() => {});
  }
}

function startCoordinator(name: string, env: Record<string, string>): Promise<TestProcess> {
  return startProgram({
    name,
    program: 'src/coordinator/main.ts',
    args: ['--listen=127.0.0.1:0'],
    env: { TEMPORAL_ADDRESS: '127.0.0.1:1', ...env },
    directory: home.path,
  });
}

test('who does not trust PostgreSQL, or is not trusted, is told why', async () => {
  const otherCa = file('other-ca.pem', (await makeAuthority('another CA')).cert);
  const migrating = async (target: string) => {
    const catalog = openTestCatalog(target, 1);
    try {
      return await migrateCatalog(catalog);
    } finally {
      await catalog.destroy();
    }
  };
  const mustName = 'sslrootcert in DATABASE_URL must name its CA';
  await expect(migrating(url({ sslrootcert: undefined }))).rejects.toThrow(mustName);
  await expect(migrating(url({ sslrootcert: otherCa }))).rejects.toThrow(
    `its certificate is of a CA that is not believed here: ${mustName}`,
  );
  await expect(migrating(url({ sslcert: undefined, sslkey: undefined }))).rejects.toThrow(
    'connection requires a valid client certificate',
  );
  await expect(migrating(postgres.url)).rejects.toThrow('no encryption');
  // The name counts too.
  await serve(await authority.issue({ hosts: ['db.example'] }), authority.cert);
  await eventually('PostgreSQL shows another name', () =>
    migrating(url()).then(
      () => false,
      (error: unknown) => String(error).includes('its certificate is for another host name'),
    ),
  );
  await serve(await authority.issue(), authority.cert);
  await eventually('PostgreSQL shows the good one again', () => connects(url()));

  await expect(
    startCoordinator('another-ca', { DATABASE_URL: url({ sslrootcert: otherCa }) }),
  ).rejects.toThrow();
  const log = readFileSync(join(home.path, 'another-ca.log'), 'utf8');
  expect(log).toContain(mustName);
  expect(log).not.toContain(new URL(postgres.url).password);
});

test('certificates, CAs and the password are rotated while a coordinator runs: its next connections use them', async () => {
  const urlFile = file('database-url', `${url()}\n`);
  const coordinator = await startCoordinator('coordinator', { DATABASE_URL_FILE: urlFile });
  const connection = new RpcConnection(String(coordinator.ready['url']), new Credentials(readTransport({})));
  const catalog = createClient(CatalogService, connection.transport);
  /** By connections that it opens now, with what is in the files. */
  const answers = async () => {
    await eventually('PostgreSQL and the files agree', () => connects(readFileSync(urlFile, 'utf8').trim()));
    await admin.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'steward-coordinator'",
    );
    await eventually('the coordinator has its catalog again', async () => {
      await catalog.listNodes({});
      return true;
    });
    const { rows } = await admin.query<{ client_dn: string | null }>(
      `SELECT DISTINCT client_dn FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
       WHERE application_name = 'steward-coordinator'`,
    );
    return rows.map((row) => row.client_dn);
  };
  try {
    expect(await answers()).toEqual(['/CN=steward']);

    // Another CA, for both sides: believed first, then used, then the old one is taken out.
    const next = await makeAuthority('next database CA');
    const both = `${authority.cert}${next.cert}`;
    callerFiles(client, both);
    await serve(await authority.issue(), both);
    callerFiles(await next.issue({ hosts: ['steward-next'] }), both);
    expect(await answers()).toEqual(['/CN=steward-next']);
    callerFiles(await next.issue({ hosts: ['steward-last'] }), next.cert);
    await serve(await next.issue(), next.cert);
    expect(await answers()).toEqual(['/CN=steward-last']);

    const password = randomBytes(12).toString('hex');
    await admin.query(`ALTER ROLE steward PASSWORD '${password}'`);
    await expect(connects(url())).rejects.toThrow('password authentication failed');
    file('database-url', `${url({}, password)}\n`);
    expect(await answers()).toEqual(['/CN=steward-last']);
    expect(readFileSync(coordinator.logFile, 'utf8')).not.toContain(password);
  } finally {
    connection.close();
    await coordinator.stop();
  }
});
