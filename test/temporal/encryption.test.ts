import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { steward as command } from '../cli/steward-command.js';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { allHistories, spelledOut } from '../support/histories.js';
import { startProgram, type TestProcess } from '../support/processes.js';
import { provided } from '../support/provided.js';
import { type Steward, startSteward } from '../support/steward.js';
import { CHROMIUM, openBrowser, SKIPPED } from '../web-ui/open-browser.js';

const OLD = `2026-01 ${randomBytes(32).toString('base64')}`;
const NEW = `2026-02 ${randomBytes(32).toString('base64')}`;
const TOKEN = 'the-token-of-the-codec-server';
/** Turns up in inputs, results, summaries, details and failures. */
const DATABASE = 'secretsales';

let steward: Steward;
let home: ReturnType<typeof temporaryDirectory>;
let keys: string;
let codecServer: TestProcess;

beforeAll(async () => {
  home = temporaryDirectory('encryption');
  keys = `${home.path}/payload-keys`;
  writeFileSync(keys, `${OLD}\n`);
  writeFileSync(`${home.path}/token`, `${TOKEN}\n`);
  const transportEnv = { STEWARD_PAYLOAD_KEYS_FILE: keys, STEWARD_CREDENTIALS_POLL_MS: '50' };
  steward = await startSteward({ nodes: 1, transportEnv, webUi: true });
  codecServer = await startProgram({
    name: 'codec-server',
    program: 'src/codec-server/main.ts',
    args: ['--listen=127.0.0.1:0', `--origin=${steward.temporal.webUi}`],
    env: { ...transportEnv, STEWARD_TOKEN_FILE: `${home.path}/token` },
    directory: home.path,
  });
});
afterAll(async () => {
  await codecServer?.stop();
  await steward?.stop();
  await home.remove();
});

/** Replaces the keys in all processes, and waits until they have them. */
async function rotate(...lines: string[]): Promise<void> {
  const processes = [steward.coordinator, steward.worker, codecServer];
  const taken = () =>
    processes.map(({ logFile }) => readFileSync(logFile, 'utf8').split('the payload keys').length);
  const before = taken();
  writeFileSync(keys, `${lines.join('\n')}\n`);
  await eventually('every process took the keys', () =>
    taken().every((count, index) => count > before[index]!),
  );
}

function cli(args: readonly string[], env: Record<string, string | undefined> = {}) {
  return command(args, {
    env: {
      ...steward.clientEnv,
      STEWARD_PAYLOAD_KEYS_FILE: keys,
      ...env,
    },
  });
}

/** Every payload of these histories, with the place where it stands. */
async function payloads(): Promise<{ workflowId: string; path: string; encoding: string; keyId: string }[]> {
  return (await allHistories(steward.temporal.client)).flatMap(({ workflowId, json }) =>
    payloadsIn(JSON.parse(json), '').map((one) => ({ workflowId, ...one })),
  );
}

function payloadsIn(value: unknown, path: string): { path: string; encoding: string; keyId: string }[] {
  if (typeof value !== 'object' || value === null) return [];
  const { metadata } = value as { metadata?: Record<string, string> };
  if (typeof metadata?.['encoding'] === 'string') {
    const text = (name: string) => Buffer.from(metadata[name] ?? '', 'base64').toString();
    return [{ path, encoding: text('encoding'), keyId: text('encryption-key-id') }];
  }
  return Object.entries(value).flatMap(([key, one]) => payloadsIn(one, `${path}.${key}`));
}

/** A schedule that was there before is replaced when a worker starts, without reading it. */
async function keyOfSchedule(scheduleId: string): Promise<string> {
  const { workflowService } = steward.temporal.connection;
  const { schedule } = await workflowService.describeSchedule({ namespace: 'default', scheduleId });
  const [input] = schedule!.action!.startWorkflow!.input!.payloads!;
  return Buffer.from(input!.metadata!['encryption-key-id']!).toString();
}

test('of what operations say, only their ids, search attributes and the actor are plain in a history', async () => {
  const [group] = await steward.database(DATABASE, 1, 1);
  await steward.fault('node-1', {
    target: 'delete-region',
    times: 1,
    kind: {
      case: 'fail',
      value: { message: `${DATABASE} is on a disk that is read-only`, afterEffect: false },
    },
  });
  const removal = await steward.client.regionGroups.remove({ groups: [group!] });
  await removal.result();
  const failing = await steward.client.regionGroups.create({
    database: `${DATABASE}-not-there`,
    kind: 'DATA',
    groups: 1,
    replicationFactor: 1,
  });
  await expect(failing.result()).rejects.toThrow(`${DATABASE}-not-there`);

  const found = await payloads();
  const plain = found.filter(({ encoding }) => encoding !== 'binary/encrypted');
  expect(found.length - plain.length).toBeGreaterThan(20);
  // Of a local activity Temporal's SDK notes its type and attempt beside its result.
  const PLAIN =
    /[sS]earchAttributes|\.header\.fields\.steward-actor$|markerRecordedEventAttributes\.details\.data\./;
  for (const { path } of plain) expect(path).toMatch(PLAIN);
  for (const part of ['userMetadata', 'workflowExecutionStartedEventAttributes.input', 'result'])
    expect(found.some(({ path }) => path.includes(part))).toBe(true);

  // Without what is plain by nature: names that Temporal itself must know.
  const NAMES = ['workflowId', 'searchAttributes', 'header'];
  const everything = (await allHistories(steward.temporal.client)).map(({ json }) =>
    JSON.stringify(JSON.parse(json, (key, value: unknown) => (NAMES.includes(key) ? undefined : value))),
  );
  expect(everything.some((text) => text.includes('"message":"Encoded failure"'))).toBe(true);
  expect(everything.filter((text) => spelledOut(text).includes(DATABASE))).toEqual([]);
});

test('whoever has the keys reads it: client, CLI and a blocker of what waits', async () => {
  const [group] = await steward.database('readable', 1, 1);
  await steward.node('node-1').kill();
  const removal = await steward.client.regionGroups.remove({ groups: [group!] });
  const { blockers, summary } = await eventually('it is blocked', async () => {
    const description = await steward.client.operations.get(removal.operationId);
    return description.blockers.length > 0 && description;
  });
  expect(blockers[0]).toContain('node-1');
  expect(blockers[0]).not.toContain('Encoded failure');
  expect(summary).toContain('remove');
  const { raw } = await steward.temporal.client.workflow.getHandle(removal.operationId).describe();
  expect(raw.pendingActivities![0]!.lastFailure!.message).toBe('Encoded failure');
  const [details] = raw.pendingActivities![0]!.heartbeatDetails!.payloads!;
  expect(Buffer.from(details!.metadata!['encoding']!).toString()).toBe('binary/encrypted');
  const shown = await cli(['operation', 'show', removal.operationId, '--json']);
  expect(shown.document()).toMatchObject({
    operation: { summary, blockers: [expect.stringContaining('node-1')] },
  });
  const without = await cli(['operation', 'show', removal.operationId], {
    STEWARD_PAYLOAD_KEYS_FILE: undefined,
  });
  expect(without.code).toBe(1);
  expect(without.stderr).toContain(
    'encrypted with key "2026-01": STEWARD_PAYLOAD_KEYS_FILE must name a file',
  );
  await steward.node('node-1').restart();
  await removal.result();
});

test('the temporal command shows it by the codec server', async () => {
  const [history] = await allHistories(steward.temporal.client);
  const show = async (...flags: string[]) => {
    const { stdout } = await promisify(execFile)(provided('temporalBinary'), [
      'workflow',
      'show',
      `--address=${steward.temporalAddress}`,
      `--workflow-id=${history!.workflowId}`,
      '--output=json',
      ...flags,
    ]);
    return stdout;
  };
  expect(await show()).toContain('encryption-key-id');
  const decoded = await show(
    `--codec-endpoint=${String(codecServer.ready['url'])}`,
    `--codec-auth=Bearer ${TOKEN}`,
  );
  expect(decoded).not.toContain('encryption-key-id');
  expect(decoded).toContain('actor');
});

test.skipIf(CHROMIUM === undefined)(
  `the Web UI shows it by the codec server to a browser that is signed in there${SKIPPED}`,
  async () => {
    const codec = String(codecServer.ready['url']);
    const creation = (await steward.client.operations.list()).find(({ operationId }) =>
      operationId.startsWith(`database/${DATABASE}/create/`),
    )!;
    const webUi = await openBrowser(steward.temporal.webUi!);
    const { page } = webUi;
    try {
      await webUi.open(creation.operationId);
      await page.getByText('encryption-key-id').first().waitFor();
      expect(await webUi.text()).not.toContain('"replicationFactor"');

      // What TEMPORAL_CODEC_ENDPOINT and TEMPORAL_CODEC_INCLUDE_CREDENTIALS say for every browser, for this one.
      await page.getByRole('button', { name: 'Configure Codec Server' }).click();
      await page.getByLabel('Codec Server browser endpoint').fill(codec);
      await page.getByLabel('Include cross-origin credentials').press('Space');
      await page.getByTestId('confirm-data-encoder-button').click();
      const refused = page.waitForResponse(`${codec}/decode`);
      await page.reload();
      expect((await refused).status()).toBe(401);
      await page.getByText('encryption-key-id').first().waitFor();

      await page.goto(codec);
      await page.getByLabel('Token').fill(TOKEN);
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.getByText('This browser is signed in').waitFor();

      await webUi.open(creation.operationId);
      await page.getByText('"replicationFactor"').first().waitFor();
      expect(await webUi.text()).not.toContain('encryption-key-id');
      await webUi.tab('User Metadata');
      await eventually('summary and details are shown', async () =>
        (await webUi.text()).includes(`Creating 1 DATA region groups of ${DATABASE}`),
      );
    } finally {
      await webUi.close();
    }
  },
  120_000,
);

test('what was started in plain text, as before encryption, is read; what follows is encrypted', async () => {
  const [group] = await steward.database('plain', 1, 1);
  const handle = await steward.temporal.client.workflow.start('removeRegionGroups', {
    workflowId: 'started-in-plain',
    taskQueue: 'steward',
    args: [{ groups: [group], actor: 'tester' }],
  });
  // It has no keys, and cannot read the result.
  await expect(handle.result()).rejects.toThrow('binary/encrypted');
  expect((await handle.describe()).status.name).toBe('COMPLETED');
  const own = (await payloads()).filter(({ workflowId }) => workflowId === 'started-in-plain');
  const of = (part: string) => own.filter(({ path }) => path.includes(part)).map(({ encoding }) => encoding);
  expect(of('workflowExecutionStartedEventAttributes.input')).toEqual(['json/plain']);
  expect(of('workflowExecutionCompletedEventAttributes.result')).toEqual(['binary/encrypted']);
});

test('keys are rotated while everything runs; what a lost key encrypted waits for it, and names it', async () => {
  const pids = [steward.coordinator, steward.worker].map(({ pid }) => pid);
  const [group] = await steward.database('rotated', 1, 1);
  await steward.fault('node-1', {
    target: 'delete-region',
    kind: { case: 'delay', value: { seconds: 600n } },
  });
  const removal = await steward.client.regionGroups.remove({ groups: [group!] });
  await eventually(
    'it is under way',
    async () => (await steward.client.operations.get(removal.operationId)).pendingActivities.length > 0,
  );

  // Too early: the old key is gone while a history still needs it. Nobody has what the workflow was in his cache.
  await rotate(NEW);
  await steward.worker.restart();
  await steward.clearFaults();
  await eventually('the worker says which key it lacks', () =>
    readFileSync(steward.worker.logFile, 'utf8').includes('encrypted with key \\"2026-01\\"'),
  );
  const listed = await cli(['operation', 'list', '--json']);
  expect(listed).toMatchObject({ code: 0, stdout: expect.stringContaining(removal.operationId) });
  const shown = await cli(['operation', 'show', removal.operationId]);
  expect(shown.stderr).toContain(
    'encrypted with key "2026-01", which is not in STEWARD_PAYLOAD_KEYS_FILE (2026-02)',
  );
  const { pid } = steward.worker;
  expect(await keyOfSchedule('steward/sweep-replicas')).toBe('2026-02');
  // Others go on.
  const created = await cli(['database', 'create', 'meanwhile', '--data-groups', '1', '--replication', '1']);
  expect(created).toMatchObject({ code: 0 });

  await rotate(NEW, OLD);
  await removal.result();
  expect(steward.worker.pid).toBe(pid);
  expect(steward.coordinator.pid).toBe(pids[0]);
  const own = (await payloads()).filter(({ workflowId }) => workflowId.includes('meanwhile'));
  expect(new Set(own.filter(({ keyId }) => keyId !== '').map(({ keyId }) => keyId))).toEqual(
    new Set(['2026-02']),
  );
});
